//! `dcos cluster`.

use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Subcommand};
use serde::Serialize;
use tokio::task::JoinSet;

use crate::auth::{self, Credentials};
use crate::clusters::Clusters;
use crate::context::{Cluster, Source, Tls};
use crate::local::{self, Local};
use crate::settings::Settings;
use crate::{Client, Context, Error, Table, output, version};

/// How long a cluster may take to say its version in the list. dcos-cli: lister.
const LIST_TIMEOUT: Duration = Duration::from_secs(3);

/// `dcos cluster`.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Attach the CLI to a cluster
    Attach {
        /// Its name, its ID, or the start of it; of a cluster that runs on this machine its directory
        cluster: String,
    },
    /// List the clusters configured and those that run on this machine
    List {
        /// returns attached cluster only
        #[arg(long)]
        attached: bool,
        /// returns clusters in json format
        #[arg(long)]
        json: bool,
    },
    /// Remove a configured cluster from the CLI
    Remove {
        /// remove all clusters
        #[arg(long)]
        all: bool,
        /// remove unavailable clusters
        #[arg(long)]
        unavailable: bool,
        /// Its name, its ID, or the start of it
        cluster: Option<String>,
    },
    /// Rename a configured cluster
    Rename {
        /// Its name, its ID, or the start of it
        cluster: String,
        /// Its new name
        name: String,
    },
    /// Set up the CLI to communicate with a cluster
    Setup(SetupArguments),
}

/// `dcos cluster setup`.
#[derive(Debug, Args)]
pub struct SetupArguments {
    /// The URL of the cluster
    #[arg(value_name = "url")]
    urls: Vec<String>,
    /// Specify a custom name for the cluster
    #[arg(long)]
    name: Option<String>,
    /// Specify the path to a file with trusted CAs to verify requests against
    #[arg(long)]
    ca_certs: Option<std::path::PathBuf>,
    /// Do not ask for certificates to be confirmed: nothing is asked here
    #[arg(long, hide = true)]
    no_check: bool,
    /// Do without certificates, which only clusters with an http URL can
    #[arg(long)]
    insecure: bool,
    /// Specify if HTTP timeout should be disabled. Useful for slow remote connections
    #[arg(long)]
    no_timeout: bool,
    #[command(flatten)]
    credentials: Credentials,
}

pub(crate) async fn run(command: Command, context: &Context) -> Result<ExitCode, Error> {
    let clusters = context.clusters();
    match command {
        Command::Attach { cluster } => attach(&cluster, context, &clusters).await?,
        Command::List { attached, json } => list(context, &clusters, attached, json).await?,
        Command::Remove { all, unavailable, cluster } => {
            remove(context, &clusters, all, unavailable, cluster).await?;
        }
        Command::Rename { cluster, name } => {
            let mut settings = clusters.get(&cluster)?;
            settings.set("cluster.name", &name)?;
            settings.write()?;
        }
        Command::Setup(arguments) => setup(arguments, context, &clusters).await?,
    }
    Ok(ExitCode::SUCCESS)
}

/// Attaches a cluster that is set up; one that runs on this machine is set up for it.
async fn attach(name: &str, context: &Context, clusters: &Clusters) -> Result<(), Error> {
    if let Some(settings) = clusters.find(name, false)? {
        clusters.attach(&settings)?;
        output::say(&format!("You are now attached to cluster {}", settings.id()));
        return Ok(());
    }
    let local = local::all(|name| context.variable(name));
    let is_meant = |local: &Local| local.id.starts_with(name) || local.dir == std::path::Path::new(name);
    match local.into_iter().find(|local| !name.is_empty() && is_meant(local)) {
        Some(local) => keep(local.cluster()?, None, None, context, clusters).await,
        None => clusters.get(name).map(|_| ()),
    }
}

/// dcos-cli: setup.Configure.
async fn setup(arguments: SetupArguments, context: &Context, clusters: &Clusters) -> Result<(), Error> {
    let SetupArguments { urls, name, ca_certs, no_check: _, insecure, no_timeout, credentials } = arguments;
    let (url, plain) = match &urls[..] {
        [url] if url.contains("://") => (url.clone(), None),
        [url] => {
            // dcos-cli does so, too.
            output::say("Missing scheme in cluster URL, assuming HTTPS.");
            (format!("https://{url}"), Some(format!("http://{url}")))
        }
        [] => {
            return Err(Error::new("missing cluster URL").hint("E.g. dcos cluster setup http://127.0.0.1"));
        }
        urls => {
            let (count, urls) = (urls.len(), urls.join(" "));
            let what = format!("received {count} arguments [{urls}], expects a single cluster URL");
            return Err(Error::new(what));
        }
    };
    let read = |path: &std::path::PathBuf| {
        std::fs::read(path)
            .map_err(|error| Error::new(format!("--ca-certs {} cannot be read: {error}", path.display())))
    };
    let certificates = ca_certs.as_ref().map(read).transpose()?;
    let mut cluster = Cluster {
        url: url.trim_end_matches('/').to_owned(),
        token: None,
        tls: match ca_certs {
            Some(path) => Tls::Bundle(path),
            None if insecure => Tls::Unchecked,
            None => Tls::System,
        },
        timeout: crate::context::timeout(no_timeout.then_some(0)),
        source: Source::Configured,
    };
    let token = auth::login(&cluster, &credentials, context).await;
    cluster.token = token.map_err(|error| match plain {
        Some(plain) => error.hint(format!("If it has no certificate: dcos cluster setup {plain}")),
        None => error,
    })?;
    if cluster.token.is_none() {
        output::say("This cluster does not require authenticated requests. Skipping login.");
    }
    keep(cluster, name, certificates.as_deref(), context, clusters).await
}

/// Keeps the settings of a cluster and attaches it.
async fn keep(
    cluster: Cluster,
    name: Option<String>,
    certificates: Option<&[u8]>,
    context: &Context,
    clusters: &Clusters,
) -> Result<(), Error> {
    #[derive(serde::Deserialize)]
    struct Metadata {
        #[serde(rename = "CLUSTER_ID")]
        cluster_id: String,
    }
    #[derive(serde::Deserialize)]
    struct Summary {
        cluster: String,
    }
    let client = Client::new(&cluster, context.program.verbosity)?;
    let Metadata { cluster_id } = client.get("/metadata").await?.json()?;
    let mut settings = clusters.fresh(&cluster_id)?;
    settings.set("core.dcos_url", &cluster.url)?;
    if let Some(token) = &cluster.token {
        settings.set("core.dcos_acs_token", token)?;
    }
    settings.set("core.timeout", &crate::context::seconds(cluster.timeout).to_string())?;
    if cluster.tls == Tls::Unchecked {
        settings.set("core.ssl_verify", "false")?;
    }
    let name = match name {
        Some(name) => name,
        None => match client.get("/mesos/state-summary").await?.json::<Summary>() {
            Ok(Summary { cluster }) if !cluster.is_empty() => cluster,
            _ => cluster_id.clone(),
        },
    };
    settings.set("cluster.name", &name)?;
    clusters.save(&mut settings, certificates)?;
    clusters.attach(&settings)?;
    output::say(&format!("You are now attached to cluster {cluster_id}"));
    Ok(())
}

/// A line of the list. Names of the JSON: dcos-cli, lister.Item.
#[derive(Clone, Debug, Serialize)]
struct Item {
    attached: bool,
    cluster_id: String,
    name: String,
    status: &'static str,
    url: String,
    version: String,
}

async fn list(context: &Context, clusters: &Clusters, attached: bool, json: bool) -> Result<(), Error> {
    let mut items: Vec<Item> = items(context, clusters).await?.into_iter().map(|(item, _)| item).collect();
    items.retain(|item| !attached || item.attached);
    if attached && items.is_empty() {
        return Err(Error::new("no cluster is attached. Please run `dcos cluster attach <cluster-name>`"));
    }
    if json {
        return output::json(&items);
    }
    let mut table = Table::new(["", "NAME", "ID", "STATUS", "VERSION", "URL"]);
    for item in items {
        let mark = if item.attached { "*" } else { "" }.to_owned();
        table.row([mark, item.name, item.cluster_id, item.status.to_owned(), item.version, item.url]);
    }
    table.print()
}

/// What is known: what is set up, with its settings, and what runs here, all asked for their version
/// at once; in the order of their names.
async fn items(context: &Context, clusters: &Clusters) -> Result<Vec<(Item, Option<Settings>)>, Error> {
    let current = context.configured()?.map(|settings| settings.id());
    // Commands go there even if it is not set up.
    let here = match context.cluster() {
        Ok(Cluster { source: Source::Local { dir }, .. }) if current.is_none() => Some(dir),
        _ => None,
    };
    let mut asked = JoinSet::new();
    let configured = clusters.all()?;
    let local = local::all(|name| context.variable(name));
    let verbosity = context.program.verbosity;
    for settings in &configured {
        let (id, name) = (settings.id(), settings.kept("cluster.name").unwrap_or_default());
        let attached = current.as_ref() == Some(&id);
        let item = Item {
            attached,
            cluster_id: id,
            name,
            status: "UNAVAILABLE",
            url: String::new(),
            version: "UNKNOWN".to_owned(),
        };
        let (cluster, settings) = (context.cluster_of(settings), settings.clone());
        asked.spawn(async move { (ask(item, cluster, "AVAILABLE", verbosity).await, Some(settings)) });
    }
    for local in local {
        if configured.iter().any(|settings| settings.id() == local.id) {
            continue;
        }
        let item = Item {
            attached: here.as_ref() == Some(&local.dir),
            cluster_id: local.id.clone(),
            name: local.dir.display().to_string(),
            status: "UNCONFIGURED",
            url: local.url.clone(),
            version: "UNKNOWN".to_owned(),
        };
        let cluster = local.cluster();
        asked.spawn(async move { (ask(item, cluster, "UNCONFIGURED", verbosity).await, None) });
    }
    let mut items = asked.join_all().await;
    items.sort_by(|(one, _), (other, _)| (&one.name, &one.cluster_id).cmp(&(&other.name, &other.cluster_id)));
    Ok(items)
}

/// The item with what its cluster says.
async fn ask(mut item: Item, cluster: Result<Cluster, Error>, status: &'static str, verbosity: u8) -> Item {
    let Ok(mut cluster) = cluster else { return item };
    cluster.timeout = LIST_TIMEOUT;
    item.url.clone_from(&cluster.url);
    let Ok(client) = Client::new(&cluster, verbosity) else { return item };
    if let Ok(Ok(version)) = tokio::time::timeout(LIST_TIMEOUT, version::of_cluster(&client)).await {
        item.status = status;
        item.version = version["version"].as_str().unwrap_or("UNKNOWN").to_owned();
    }
    item
}

async fn remove(
    context: &Context,
    clusters: &Clusters,
    all: bool,
    unavailable: bool,
    cluster: Option<String>,
) -> Result<(), Error> {
    match cluster {
        Some(_) if all || unavailable => {
            Err(Error::new("cannot accept both a cluster name and the --all / --unavailable option"))
        }
        None if !all && !unavailable => {
            Err(Error::new("either a cluster name or one of the --all / --unavailable option must be passed")
                .hint("`dcos cluster list` shows the clusters that are set up."))
        }
        Some(name) => clusters.remove(&clusters.get(&name)?),
        None if !unavailable => clusters.all()?.iter().try_for_each(|settings| clusters.remove(settings)),
        None => {
            let items = items(context, clusters).await?;
            let gone = items.iter().filter(|(item, _)| item.status == "UNAVAILABLE");
            gone.filter_map(|(_, settings)| settings.as_ref())
                .try_for_each(|settings| clusters.remove(settings))
        }
    }
}
