//! `dcos auth`: who the user is to the cluster.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Subcommand};
use http_kit::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::context::{Cluster, Source, Tls};
use crate::{Client, Context, Error, Table, output, prompt};

/// Where user and password are given if the provider does not say.
const LOGIN: &str = "/acs/api/v1/auth/login";
/// What tells whether a token is demanded and whether the one that is shown does.
const DEMANDING: &str = "/metadata";

/// `dcos auth`.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// List available login providers for a cluster
    ListProviders {
        /// returns providers in json format
        #[arg(long)]
        json: bool,
        /// The URL of the cluster; the current one if it is left out
        url: Option<String>,
    },
    /// Log in to the current cluster
    Login(Credentials),
    /// Log out the CLI from the current cluster
    Logout,
}

/// What shows who the user is.
#[derive(Debug, Default, Args)]
pub struct Credentials {
    /// Specify the login provider to use
    #[arg(long)]
    provider: Option<String>,
    /// Specify the username for login
    #[arg(long)]
    username: Option<String>,
    /// Specify the password on the command line (insecure)
    #[arg(long)]
    password: Option<String>,
    /// Specify the path to a file that contains the password
    #[arg(long, conflicts_with = "password")]
    password_file: Option<PathBuf>,
    /// Specify the path to a file that contains the cluster's token, such as DIR/token of `dcos up --auth`
    #[arg(long, conflicts_with_all = ["username", "password", "password_file"])]
    token_file: Option<PathBuf>,
}

/// A way to log in, as the cluster tells of it.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Provider {
    #[serde(rename = "authentication-type", default)]
    kind: String,
    #[serde(rename = "client-method", default)]
    method: String,
    #[serde(default)]
    config: ProviderConfig,
    #[serde(default)]
    description: String,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct ProviderConfig {
    #[serde(default)]
    start_flow_url: String,
}

/// The providers by their ids.
type Providers = BTreeMap<String, Provider>;

impl Provider {
    /// The cluster's own token, of clusters that have no users: what `dcos up --auth` demands.
    fn token() -> Provider {
        Provider {
            kind: "dcos-token".to_owned(),
            method: "token".to_owned(),
            config: ProviderConfig::default(),
            description: "The token of the cluster".to_owned(),
        }
    }

    /// dcos-cli: Provider.String.
    fn words(&self) -> String {
        match self.kind.as_str() {
            "dcos-token" => "Log in using the token of the cluster".to_owned(),
            "dcos-uid-password" => {
                "Log in using a standard DC/OS user account (username and password)".to_owned()
            }
            "dcos-uid-servicekey" => {
                "Log in using a DC/OS service user account (username and private key)".to_owned()
            }
            "dcos-uid-password-ldap" => {
                "Log in using an LDAP user account (username and password)".to_owned()
            }
            "saml-sp-initiated" => format!("Log in using SAML 2.0 ({})", self.description),
            "oidc-implicit-flow" | "oidc-authorization-code-flow" => {
                format!("Log in using OpenID Connect ({})", self.description)
            }
            other => other.to_owned(),
        }
    }

    fn takes_password(&self) -> bool {
        matches!(
            self.method.as_str(),
            "dcos-credential-post-receive-authtoken" | "dcos-usercredential-post-receive-authtoken"
        )
    }
}

pub(crate) async fn run(command: Command, context: &Context) -> Result<ExitCode, Error> {
    match command {
        Command::ListProviders { json, url } => list_providers(context, url, json).await?,
        Command::Login(credentials) => {
            let mut settings = context.settings()?;
            let mut cluster = context.cluster_of(&settings)?;
            cluster.token = None;
            let token = login(&cluster, &credentials, context).await?;
            let token = token.ok_or_else(disabled)?;
            settings.set("core.dcos_acs_token", &token)?;
            settings.write()?;
            output::say("Login successful");
        }
        Command::Logout => {
            let mut settings = context.settings()?;
            settings.unset("core.dcos_acs_token");
            settings.write()?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn disabled() -> Error {
    Error::new("authentication disabled")
        .hint("This cluster takes every request; there is nobody to log in as.")
}

async fn list_providers(context: &Context, url: Option<String>, json: bool) -> Result<(), Error> {
    let mut cluster = match url {
        None => context.cluster()?,
        Some(url) => Cluster {
            url: url.trim_end_matches('/').to_owned(),
            token: None,
            tls: Tls::System,
            timeout: crate::context::timeout(None),
            source: Source::Configured,
        },
    };
    cluster.token = None;
    let providers = providers(&Client::new(&cluster, context.program.verbosity)?).await?;
    let providers = providers.ok_or_else(disabled)?;
    if json {
        return output::json(&providers);
    }
    let mut table = Table::new(["PROVIDER ID", "LOGIN METHOD"]);
    for (id, provider) in providers {
        table.row([id, provider.words()]);
    }
    table.print()
}

/// The ways to log in; none if nobody has to.
async fn providers(client: &Client) -> Result<Option<Providers>, Error> {
    let challenge = client.get(DEMANDING).await?;
    match challenge.status {
        StatusCode::OK => return Ok(None),
        StatusCode::UNAUTHORIZED => {}
        status => return Err(Error::new(format!("expected status code 401, got {}", status.as_u16()))),
    }
    let answer = client.get("/acs/api/v1/auth/providers").await?;
    if answer.status == StatusCode::OK {
        return answer.json().map(Some);
    }
    Ok(Some(Providers::from([("dcos-token".to_owned(), Provider::token())])))
}

/// Logs in to the cluster; returns the token that shows it, none if none is demanded.
pub(crate) async fn login(
    cluster: &Cluster,
    credentials: &Credentials,
    context: &Context,
) -> Result<Option<String>, Error> {
    if let Some(token) = context.variable("DCOS_CLUSTER_SETUP_ACS_TOKEN") {
        return Ok(Some(token));
    }
    let client = Client::new(cluster, context.program.verbosity)?;
    let Some(providers) = providers(&client).await? else { return Ok(None) };
    if let Some(path) = &credentials.token_file {
        let token = secret(path)?;
        return verified(cluster, token, context).await.map(Some);
    }
    let provider = chosen(&providers, credentials)?;
    match provider.takes_password() {
        true => password(&client, provider, credentials, context).await.map(Some),
        false if provider.kind == "dcos-token" => {
            let token = prompt::secret("Enter the cluster's token (it will NOT be visible): ").map_err(|error| {
                error.hint("Name its file with --token-file: `dcos up --auth` and `dcos master --auth` keep it in DIR/token.")
            })?;
            verified(cluster, token, context).await.map(Some)
        }
        false => Err(Error::new(format!("this program cannot {}", lower_first(&provider.words())))
            .hint("Log in with a browser, and give the token with --token-file.")),
    }
}

fn lower_first(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map(|first| first.to_lowercase().chain(chars).collect()).unwrap_or_default()
}

/// The provider that was asked for, or the only one that takes what was given.
fn chosen<'a>(providers: &'a Providers, credentials: &Credentials) -> Result<&'a Provider, Error> {
    let names = || providers.keys().map(String::as_str).collect::<Vec<_>>().join(", ");
    if let Some(id) = &credentials.provider {
        return providers.get(id).ok_or_else(|| {
            Error::new(format!("unknown login provider ID '{id}'")).hint(format!("Allowed: {}.", names()))
        });
    }
    if let Some(provider) = providers.values().find(|provider| provider.takes_password()) {
        return Ok(provider);
    }
    let given = credentials.username.is_some() || credentials.password.is_some();
    match providers.values().next() {
        Some(provider) if providers.len() == 1 && !given => Ok(provider),
        Some(_) if given => Err(Error::new("this cluster takes no username and password")
            .hint(format!("It takes: {}. With a token: --token-file <file>.", names()))),
        _ => Err(Error::new("couldn't determine a login provider")
            .hint(format!("Name one with --provider: {}.", names()))),
    }
}

/// dcos-cli: Flow.loginUIDPassword.
async fn password(
    client: &Client,
    provider: &Provider,
    credentials: &Credentials,
    context: &Context,
) -> Result<String, Error> {
    #[derive(Deserialize)]
    struct Token {
        token: String,
    }
    let user = match credentials.username.clone().or_else(|| context.variable("DCOS_USERNAME")) {
        Some(user) => user,
        None => prompt::input("Username: ").map_err(|error| error.hint("Give it with --username."))?,
    };
    let given = match &credentials.password_file {
        Some(path) => Some(secret(path)?),
        None => credentials.password.clone().or_else(|| context.variable("DCOS_PASSWORD")),
    };
    let password = match given {
        Some(password) => password,
        None => prompt::secret("Password: ").map_err(|error| error.hint("Give it with --password-file."))?,
    };
    let url = match provider.config.start_flow_url.as_str() {
        "" => LOGIN,
        url => url,
    };
    let answer = client.post(url, &json!({"uid": user, "password": password})).await?;
    if answer.status == StatusCode::UNAUTHORIZED {
        return Err(Error::status(401, "invalid username or password"));
    }
    Ok(answer.json::<Token>()?.token)
}

/// The token, if the cluster takes it. dcos-cli: loginBrowser.
async fn verified(cluster: &Cluster, token: String, context: &Context) -> Result<String, Error> {
    let cluster = Cluster { token: Some(token.clone()), ..cluster.clone() };
    let answer = Client::new(&cluster, context.program.verbosity)?.get(DEMANDING).await?;
    match answer.status {
        StatusCode::OK | StatusCode::FORBIDDEN => Ok(token),
        StatusCode::UNAUTHORIZED => Err(Error::status(401, "invalid auth token")),
        status => Err(Error::new(format!("unexpected status code {}", status.as_u16()))),
    }
}

/// The secret in a file, without the white space around it.
fn secret(path: &Path) -> Result<String, Error> {
    let failed = |why: &str| Error::new(format!("{} cannot be read: {why}", path.display()));
    let text = std::fs::read_to_string(path).map_err(|error| failed(&error.to_string()))?;
    match text.trim() {
        "" => Err(failed("it is empty")),
        secret => Ok(secret.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_provider_is_chosen_by_what_is_given() {
        let users = r#"{"authentication-type": "dcos-uid-password", "description": "d",
            "client-method": "dcos-usercredential-post-receive-authtoken",
            "config": {"start_flow_url": "/acs/api/v1/auth/login"}}"#;
        let users: Provider = serde_json::from_str(users).unwrap();
        let both = Providers::from([
            ("dcos-token".to_owned(), Provider::token()),
            ("dcos-users".to_owned(), users.clone()),
        ]);
        let token = Providers::from([("dcos-token".to_owned(), Provider::token())]);
        let with = |provider: Option<&str>, username: Option<&str>| Credentials {
            provider: provider.map(str::to_owned),
            username: username.map(str::to_owned),
            ..Credentials::default()
        };
        let check = |providers: &Providers, credentials, expected: Result<&str, &str>| {
            let found = chosen(providers, &credentials);
            let found = found.map(|provider| provider.kind.clone()).map_err(|error| error.to_string());
            assert_eq!(found.as_deref().map_err(String::as_str), expected);
        };
        check(&both, with(None, None), Ok("dcos-uid-password"));
        check(&both, with(Some("dcos-token"), None), Ok("dcos-token"));
        check(&token, with(None, None), Ok("dcos-token"));
        check(
            &both,
            with(Some("x"), None),
            Err("unknown login provider ID 'x'\nAllowed: dcos-token, dcos-users."),
        );
        check(
            &token,
            with(None, Some("bob")),
            Err(
                "this cluster takes no username and password\nIt takes: dcos-token. With a token: --token-file <file>.",
            ),
        );
    }
}
