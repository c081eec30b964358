//! `dcos --version`.

use std::process::ExitCode;
use std::time::Duration;

use serde_json::Value;

use crate::{Client, Context, Error, output};

/// How long the cluster may take to say its version. dcos-cli: printVersion.
const TIMEOUT: Duration = Duration::from_secs(3);

pub(crate) async fn print(context: &Context) -> Result<ExitCode, Error> {
    output::line(&format!("dcoscli.version={}", context.program.version))?;
    let Ok(mut cluster) = context.cluster() else { return Ok(ExitCode::SUCCESS) };
    cluster.timeout = TIMEOUT;
    let version = match Client::new(&cluster, context.program.verbosity) {
        Ok(client) => of_cluster(&client).await.unwrap_or_default(),
        Err(_) => Value::Null,
    };
    let names = [
        ("dcos.version", "version"),
        ("dcos.variant", "dcos-variant"),
        ("dcos.commit", "dcos-image-commit"),
        ("dcos.bootstrap-id", "bootstrap-id"),
    ];
    for (name, field) in names {
        output::line(&format!("{name}={}", version[field].as_str().unwrap_or("N/A")))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// What the cluster says of its version.
pub(crate) async fn of_cluster(client: &Client) -> Result<Value, Error> {
    client.get("/dcos-metadata/dcos-version.json").await?.json()
}
