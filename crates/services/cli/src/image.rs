//! `dcos image`: the images on the cluster's agents. The official CLI has no such commands; their words
//! are those of docker's.

use std::io::IsTerminal;
use std::path::Path;
use std::process::ExitCode;

use clap::{Args, Subcommand};
use http_kit::{Body, HeaderValue, Method, Request, StatusCode, header};
use serde_json::{Value, json};

use crate::client::chain;
use crate::marathon::encoded;
use crate::{Align, Client, Context, Error, Table, output, task};

/// The longest line of an answer about a pull.
const LONGEST_LINE: usize = 1 << 20;

/// `dcos image`.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// List the images on agents
    #[command(alias = "ls")]
    List(ListArguments),
    /// Bring an image to an agent before something runs from it
    Pull(PullArguments),
    /// Remove an image that nothing runs from
    #[command(visible_alias = "remove")]
    Rm(RemoveArguments),
    /// Remove all images that nothing runs from
    Prune(PruneArguments),
}

/// `dcos image list`.
#[derive(Debug, Args)]
pub struct ListArguments {
    /// Only of the agent with this Mesos ID, address or hostname
    #[arg(long, value_name = "ID|IP")]
    agent: Option<String>,
    /// Print in json format
    #[arg(long)]
    json: bool,
    /// Print only the references
    #[arg(short, long)]
    quiet: bool,
}

/// `dcos image pull`.
#[derive(Debug, Args)]
pub struct PullArguments {
    /// Such as `nginx:1.25`, `registry.example.com/team/app@sha256:...`, or the path or URL of a tarball; an
    /// absolute path is one of the agent's machine
    image: String,
    /// The Mesos ID, address or hostname of the agent; it may be left out if there is only one
    #[arg(long, value_name = "ID|IP")]
    agent: Option<String>,
    /// Ask the registry even if the image is there
    #[arg(long)]
    force: bool,
    /// A docker config.json with the logins for the registry
    #[arg(long, value_name = "FILE")]
    docker_config: Option<std::path::PathBuf>,
    /// Print in json format
    #[arg(long)]
    json: bool,
}

/// `dcos image rm`.
#[derive(Debug, Args)]
pub struct RemoveArguments {
    /// As `dcos image list` shows it
    image: String,
    /// The Mesos ID, address or hostname of the agent; it may be left out if there is only one
    #[arg(long, value_name = "ID|IP")]
    agent: Option<String>,
    /// Print in json format
    #[arg(long)]
    json: bool,
}

/// `dcos image prune`.
#[derive(Debug, Args)]
pub struct PruneArguments {
    /// An image that stays. Can be repeated multiple times
    #[arg(long = "except", value_name = "IMAGE")]
    excluded: Vec<String>,
    /// The Mesos ID, address or hostname of the agent; it may be left out if there is only one
    #[arg(long, value_name = "ID|IP")]
    agent: Option<String>,
    /// Print in json format
    #[arg(long)]
    json: bool,
}

pub(crate) async fn run(command: Command, context: &Context) -> Result<ExitCode, Error> {
    let client = context.client()?;
    match command {
        Command::List(arguments) => list(&arguments, &client).await?,
        Command::Pull(arguments) => pull(arguments, &client).await?,
        Command::Rm(arguments) => remove(&arguments, &client).await?,
        Command::Prune(arguments) => prune(&arguments, &client).await?,
    }
    Ok(ExitCode::SUCCESS)
}

/// An agent of the cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Agent {
    id: String,
    hostname: String,
    ip: String,
}

impl Agent {
    fn of(node: &Value) -> Agent {
        let text = |name: &str| node[name].as_str().unwrap_or_default().to_owned();
        let pid = text("pid");
        let address = pid.rsplit_once('@').map_or(&*pid, |(_, address)| address);
        let ip = address.rsplit_once(':').map_or(address, |(ip, _)| ip).to_owned();
        Agent { id: text("id"), hostname: text("hostname"), ip }
    }

    fn is(&self, name: &str) -> bool {
        self.id == name || self.ip == name || self.hostname == name
    }

    fn path(&self, rest: &str) -> String {
        format!("/agent/{}/images{rest}", encoded(&self.id))
    }
}

async fn agents(client: &Client) -> Result<Vec<Agent>, Error> {
    let state = task::state(client).await?;
    Ok(state["slaves"].as_array().into_iter().flatten().map(Agent::of).collect())
}

/// The agents that are meant; all if none is named.
fn named(agents: Vec<Agent>, name: Option<&str>) -> Result<Vec<Agent>, Error> {
    let Some(name) = name else { return Ok(agents) };
    let found: Vec<Agent> = agents.into_iter().filter(|agent| agent.is(name)).collect();
    match found.is_empty() {
        true => {
            Err(Error::new(format!("there is no agent '{name}'")).hint("`dcos node list` shows the agents."))
        }
        false => Ok(found),
    }
}

/// The agent that is meant: the only one, if none is named.
fn one(agents: Vec<Agent>, name: Option<&str>) -> Result<Agent, Error> {
    let mut found = named(agents, name)?;
    match (found.pop(), found.len()) {
        (Some(agent), 0) => Ok(agent),
        (None, _) => Err(Error::new("the cluster has no agents").hint("`dcos node list` shows its nodes.")),
        (Some(_), others) => {
            Err(Error::new(format!("the cluster has {} agents: which one is meant?", others + 1))
                .hint("Name it with --agent <id|ip>; `dcos node list` shows them."))
        }
    }
}

async fn list(arguments: &ListArguments, client: &Client) -> Result<(), Error> {
    let mut all = Vec::new();
    for agent in named(agents(client).await?, arguments.agent.as_deref())? {
        let mut answer: Value = client.get(&agent.path("")).await?.json()?;
        let Value::Array(images) = answer["images"].take() else { continue };
        for mut image in images {
            image["agent"] = agent.ip.clone().into();
            image["agent_id"] = agent.id.clone().into();
            all.push(image);
        }
    }
    if arguments.json {
        return output::json(&all);
    }
    if arguments.quiet {
        return all
            .iter()
            .try_for_each(|image| output::line(image["reference"].as_str().unwrap_or_default()));
    }
    let headings = ["IMAGE", "ID", "LAYERS", "SIZE", "USED BY", "AGENT"];
    let mut table = Table::new(headings).align("LAYERS", Align::Right).align("SIZE", Align::Right);
    for image in &all {
        let text = |name: &str| image[name].as_str().unwrap_or_default();
        let users = image["holders"].as_array().map_or(0, Vec::len);
        table.row([
            text("reference").to_owned(),
            short(text("id")).to_owned(),
            image["layers"].to_string(),
            size(image["bytes"].as_u64().unwrap_or_default()),
            match users {
                1 => "1 container".to_owned(),
                users => format!("{users} containers"),
            },
            text("agent").to_owned(),
        ]);
    }
    table.print()
}

/// The name as an agent understands it: a tarball beside us by its whole path.
///
/// # Errors
/// It looks like a file, and there is none.
fn located(name: &str, here: &Path) -> Result<String, Error> {
    let is_path = name.starts_with("./") || name.starts_with("../");
    let is_tarball = [".tar", ".tar.gz", ".tgz", ".tar.zst"].iter().any(|end| name.ends_with(end));
    let is_file = is_tarball && !name.starts_with('/') && !name.contains("://") && !name.contains(':');
    if !is_path && !is_file {
        return Ok(name.to_owned());
    }
    match here.join(name).canonicalize() {
        Ok(path) => path
            .into_os_string()
            .into_string()
            .map_err(|path| Error::new(format!("the path {} is not UTF-8", path.display()))),
        // So may an image of a registry be called that has a slash.
        Err(_) if !is_path && name.contains('/') => Ok(name.to_owned()),
        Err(error) => Err(Error::new(format!("the tarball {name} cannot be read: {error}"))
            .hint("A tarball that is on another machine, the agent's, is named by its absolute path.")),
    }
}

async fn pull(arguments: PullArguments, client: &Client) -> Result<(), Error> {
    let image = located(&arguments.image, &std::env::current_dir()?)?;
    let agent = one(agents(client).await?, arguments.agent.as_deref())?;
    let mut wanted = json!({"reference": image, "force": arguments.force});
    if let Some(path) = &arguments.docker_config {
        let wrong = |why: String| Error::new(format!("cannot use {}: {why}", path.display()));
        let text = std::fs::read(path).map_err(|error| wrong(error.to_string()))?;
        wanted["docker_config"] = serde_json::from_slice(&text).map_err(|error| wrong(error.to_string()))?;
    }
    let mut request = Request::new(Body::full(wanted.to_string()));
    *request.method_mut() = Method::POST;
    let path = agent.path("/pull");
    *request.uri_mut() = path.parse().map_err(|_| Error::new(format!("'{path}' is no path of a URL")))?;
    let json_type = HeaderValue::from_static("application/json");
    request.headers_mut().insert(header::CONTENT_TYPE, json_type);
    let asked = format!("POST {path}");
    let response = client.send(request).await?;
    if !response.status().is_success() {
        return Err(client.refusal(&asked, response).await);
    }
    let image = follow(response.into_body(), &asked).await?;
    match arguments.json {
        true => output::json(&image),
        false => output::line(&format!(
            "{} {}",
            image["reference"].as_str().unwrap_or(&arguments.image),
            short(image["id"].as_str().unwrap_or_default())
        )),
    }
}

/// Shows how far a pull is until it ends; returns its image.
async fn follow(mut body: Body, asked: &str) -> Result<Value, Error> {
    let mut progress = Progress::new();
    let mut text: Vec<u8> = Vec::new();
    while let Some(piece) = body.next().await {
        let piece = piece
            .map_err(|error| Error::new(format!("the answer to {asked} broke off: {}", chain(&error))))?;
        text.extend_from_slice(&piece);
        while let Some(end) = text.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = text.drain(..=end).collect();
            let Ok(mut line) = serde_json::from_slice::<Value>(&line) else { continue };
            if let Some(error) = line["error"].as_str() {
                progress.end();
                return Err(Error::new(error));
            }
            if line.get("image").is_some() {
                progress.end();
                return Ok(line["image"].take());
            }
            progress.show(line["status"].as_str().unwrap_or_default());
        }
        if text.len() > LONGEST_LINE {
            break;
        }
    }
    Err(Error::new(format!("the answer to {asked} ended before the pull did")).hint("Try it again."))
}

/// The newest line about a pull: on a terminal it is written over itself.
struct Progress {
    terminal: bool,
    shown: String,
}

impl Progress {
    fn new() -> Progress {
        Progress { terminal: std::io::stderr().is_terminal(), shown: String::new() }
    }

    fn show(&mut self, text: &str) {
        if text.is_empty() || text == self.shown {
            return;
        }
        text.clone_into(&mut self.shown);
        if self.terminal {
            eprint!("\r\x1b[K{text}");
        }
    }

    fn end(&self) {
        if self.terminal && !self.shown.is_empty() {
            eprint!("\r\x1b[K");
        }
    }
}

async fn remove(arguments: &RemoveArguments, client: &Client) -> Result<(), Error> {
    let agent = one(agents(client).await?, arguments.agent.as_deref())?;
    // A tarball may be gone already that an image came from.
    let here = std::env::current_dir()?;
    let image = located(&arguments.image, &here).unwrap_or_else(|_| arguments.image.clone());
    let path = agent.path(&format!("?reference={}", encoded(&image)));
    let answer = client.request(Method::DELETE, &path, None).await?;
    if answer.status == StatusCode::NOT_FOUND {
        return Err(answer.refusal().hint("`dcos image list` shows the images that are there."));
    }
    let gone: Value = answer.json()?;
    told(&gone, arguments.json)
}

async fn prune(arguments: &PruneArguments, client: &Client) -> Result<(), Error> {
    let agent = one(agents(client).await?, arguments.agent.as_deref())?;
    let wanted = json!({"excluded": arguments.excluded});
    let gone: Value = client.post(&agent.path("/prune"), &wanted).await?.json()?;
    told(&gone, arguments.json)
}

fn told(gone: &Value, json: bool) -> Result<(), Error> {
    if json {
        return output::json(gone);
    }
    for reference in gone["references"].as_array().into_iter().flatten() {
        output::line(reference.as_str().unwrap_or_default())?;
    }
    output::say(&format!("Freed {}", size(gone["bytes"].as_u64().unwrap_or_default())));
    Ok(())
}

/// As docker shows ids: twelve digits.
fn short(id: &str) -> &str {
    let digits = id.split_once(':').map_or(id, |(_, digits)| digits);
    digits.get(..12).unwrap_or(digits)
}

/// A number of bytes with one digit after the point, in the largest unit that makes it at least one.
fn size(bytes: u64) -> String {
    let mut amount = bytes as f64;
    for unit in ["B", "KiB", "MiB"] {
        if amount < 1024.0 {
            return if unit == "B" { format!("{bytes} B") } else { format!("{amount:.1} {unit}") };
        }
        amount /= 1024.0;
    }
    format!("{amount:.1} GiB")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(id: &str, ip: &str) -> Agent {
        Agent::of(&json!({"id": id, "hostname": ip, "pid": format!("slave(1)@{ip}:5051")}))
    }

    #[test]
    fn tarballs_beside_us_are_named_by_their_whole_path() {
        let dir = tempfile::tempdir().unwrap();
        let here = dir.path().canonicalize().unwrap();
        std::fs::write(here.join("app.tar"), "").unwrap();
        let whole = here.join("app.tar").display().to_string();
        let check = |name: &str, expected: Option<&str>| {
            assert_eq!(located(name, &here).ok().as_deref(), expected, "{name}");
        };
        check("app.tar", Some(&whole));
        check("./app.tar", Some(&whole));
        check("nosuch.tar", None);
        check("./nosuch", None);
        for as_it_is in
            ["nginx", "team/nosuch.tar", "127.0.0.1:5000/x.tar", "/srv/x.tar", "https://x/y.tar.gz"]
        {
            check(as_it_is, Some(as_it_is));
        }
    }

    #[test]
    fn sizes_are_short() {
        let check = |bytes, expected: &str| assert_eq!(size(bytes), expected);
        check(0, "0 B");
        check(1023, "1023 B");
        check(1536, "1.5 KiB");
        check(5 << 20, "5.0 MiB");
        check(3 << 30, "3.0 GiB");
        check(5000 << 30, "5000.0 GiB");
        assert_eq!(short("sha256:0123456789abcdef"), "0123456789ab");
    }

    #[test]
    fn an_agent_is_named_if_there_is_more_than_one() {
        let two = || vec![node("a-S0", "127.0.0.2"), node("a-S1", "127.0.0.3")];
        assert_eq!(one(two(), Some("127.0.0.3")).unwrap(), node("a-S1", "127.0.0.3"));
        assert_eq!(one(two(), Some("a-S0")).unwrap(), node("a-S0", "127.0.0.2"));
        assert_eq!(one(vec![node("x", "127.0.0.2")], None).unwrap(), node("x", "127.0.0.2"));
        assert_eq!(named(two(), None).unwrap().len(), 2);
        let check = |agents, name, expected: &str| {
            let error = one(agents, name).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        };
        check(two(), None, "the cluster has 2 agents: which one is meant?");
        check(two(), Some("ghost"), "there is no agent 'ghost'");
        check(Vec::new(), None, "the cluster has no agents");
    }
}
