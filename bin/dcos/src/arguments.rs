use std::ffi::OsString;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use base::Auth;
use clap::{ArgAction, Args, CommandFactory, FromArgMatches, Parser, Subcommand};
use up::{AgentConfig, ImageOptions, MasterConfig, Subnet};

use crate::components::{
    MarathonArguments, MesosAgentArguments, MesosMasterArguments, PkgpandaApiArguments, ProbeArguments,
    RouterArguments,
};
use crate::settings::{self, Settings};

/// The version of this program.
pub(crate) const VERSION: &str = env!("CARGO_PKG_VERSION");

/// A datacenter operating system: one pool of cpu, memory, disk and ports out of many machines, for
/// services, jobs and containers.
#[derive(Debug, Parser)]
#[command(name = "dcos", arg_required_else_help = true)]
pub(crate) struct Arguments {
    /// Print version information
    #[arg(long)]
    pub(crate) version: bool,
    /// Output verbosity: -v tells of requests, -vv of their answers, too
    #[arg(short, action = ArgAction::Count)]
    pub(crate) verbosity: u8,
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
}

/// All arguments of the program, for completion.
pub(crate) fn all() -> clap::Command {
    cli::styled(Arguments::command())
}

/// What the process was started with.
pub(crate) struct Started {
    /// What its command line says, completed by its environment.
    pub(crate) arguments: Result<Arguments, clap::Error>,
    /// What came from the environment.
    pub(crate) settings: Settings,
}

/// The arguments of this process.
pub(crate) fn of_process() -> Started {
    let mut command = all();
    let (words, settings) = settings::complete(std::env::args_os().collect(), std::env::vars_os(), &command);
    let arguments = command.try_get_matches_from_mut(words).and_then(|matches| {
        Arguments::from_arg_matches(&matches).map_err(|error| error.format(&mut command))
    });
    Started { arguments, settings }
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    #[command(flatten)]
    Cli(cli::Command),
    /// Bring up a datacenter on this machine and run it in the foreground
    ///
    /// Prints a line for each component when it answers, then READY and the cluster's address. Ctrl-C
    /// stops the cluster; its tasks go on running, and the next `dcos up` on the same directory takes
    /// them up again. `dcos down` ends them.
    Up(UpArguments),
    /// End the cluster of this machine: stop it, end its tasks, remove its state
    Down {
        /// The cluster's directory
        #[arg(long, default_value_os_t = up::default_dir("up"))]
        dir: PathBuf,
    },
    /// Run a master node in the foreground: Mesos master, Marathon, Admin Router
    Master(MasterArguments),
    /// Run an agent node in the foreground: Mesos agent, Admin Router
    Agent(AgentArguments),
    /// Run the Mesos master alone in the foreground
    ///
    /// Flags can be said by variables, too, as units do: MESOS_WORK_DIR means --work_dir.
    MesosMaster(Box<MesosMasterArguments>),
    /// Run the Mesos agent alone in the foreground
    ///
    /// Flags can be said by variables, too, as units do: MESOS_WORK_DIR means --work_dir.
    #[command(visible_alias = "mesos-slave")]
    MesosAgent(Box<MesosAgentArguments>),
    /// Run Marathon alone in the foreground
    ///
    /// Flags can be said by variables, too, as units do: MARATHON_MESOS_USER means --mesos_user.
    MarathonServer(Box<MarathonArguments>),
    /// Run Admin Router alone in the foreground
    ///
    /// Flags can be said by variables, too, as units do: ADMINROUTER_PORT means --port.
    AdminRouter(RouterArguments),
    /// Serve the HTTP API of the host's packages in the foreground, on a Unix socket
    ///
    /// Flags can be said by variables, too, as units do: DCOS_ROOT means --root, PKGPANDA_API_SOCKET --socket.
    PkgpandaApi(PkgpandaApiArguments),
    /// Manage the host's packages: `dcos pkgpanda --help` tells more
    #[command(disable_help_flag = true)]
    Pkgpanda {
        /// What pkgpanda is to do
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        words: Vec<OsString>,
    },
    /// Build packages and trees of them: `dcos mkpanda --help` tells more
    #[command(disable_help_flag = true)]
    Mkpanda {
        /// What mkpanda is to do
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        words: Vec<OsString>,
    },
    /// Ask a component until it answers
    ///
    /// An answer is also the demand for a token. Checks of a host ask so.
    Probe(ProbeArguments),
    /// Print the version
    Version,
}

/// How agents get the images that tasks run from.
#[derive(Debug, Args)]
pub(crate) struct ImageArguments {
    /// A docker config.json with the logins for registries
    #[arg(long, value_name = "FILE")]
    docker_config: Option<PathBuf>,
    /// A registry that is spoken to without TLS, like "registry.example.com:5000"; those on loopback
    /// always may be. Can be repeated
    #[arg(long = "insecure-registry", value_name = "HOST[:PORT]")]
    insecure_registries: Vec<String>,
    /// How much disk images may take on each agent before unused ones are removed, like "50G"
    /// [default: 20G]
    #[arg(long, value_name = "SIZE", value_parser = size)]
    image_quota: Option<u64>,
}

impl ImageArguments {
    fn options(self) -> Result<ImageOptions, up::Error> {
        let ImageArguments { docker_config, insecure_registries, image_quota } = self;
        let docker_config = docker_config.as_deref().map(ImageOptions::docker_config).transpose()?;
        Ok(ImageOptions { docker_config, insecure_registries, quota: image_quota })
    }
}

/// A number of bytes with a unit, which is one of 1024.
pub(crate) fn size(text: &str) -> Result<u64, String> {
    let unit = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(unit);
    let factor = match unit.trim_end_matches(['b', 'B']).trim_end_matches('i').to_ascii_uppercase().as_str() {
        "M" => 1 << 20,
        "G" => 1 << 30,
        "T" => 1u64 << 40,
        _ => return Err("allowed is a number with one of the units M, G and T: 50G".to_owned()),
    };
    let bytes = number.parse::<u64>().ok().and_then(|number| number.checked_mul(factor));
    bytes.filter(|bytes| *bytes > 0).ok_or_else(|| "allowed is a number above 0, like 50G".to_owned())
}

#[derive(Debug, Args)]
pub(crate) struct UpArguments {
    /// The network of the nodes: the master takes the first address, agents the next ones
    /// [default: 127.0.0.0/24]
    #[arg(long)]
    subnet: Option<String>,
    /// How many agents [default: 1]
    #[arg(long)]
    agents: Option<u32>,
    /// How many public agents, whose resources are reserved for the role slave_public [default: 0]
    #[arg(long)]
    public_agents: Option<u32>,
    /// The cluster's directory
    #[arg(long, default_value_os_t = up::default_dir("up"))]
    dir: PathBuf,
    /// What each agent offers, like "cpus:4;mem:2048"; for what is not said the agents share out what
    /// the machine has
    #[arg(long)]
    resources: Option<String>,
    /// End all tasks when the cluster stops
    #[arg(long)]
    kill_tasks: bool,
    /// Demand a token, which is made and kept in the directory
    #[arg(long)]
    auth: bool,
    #[command(flatten)]
    images: ImageArguments,
}

impl UpArguments {
    pub(crate) fn config(self) -> Result<up::Config, up::Error> {
        let UpArguments { subnet, agents, public_agents, dir, resources, kill_tasks, auth, images } = self;
        let images = images.options()?;
        let subnet = subnet.map(|text| text.parse::<Subnet>()).transpose()?;
        let (version, fresh_dir) = (VERSION.to_owned(), !dir.exists());
        Ok(up::Config {
            subnet,
            agents,
            public_agents,
            dir,
            fresh_dir,
            resources,
            kill_tasks,
            auth,
            images,
            version,
        })
    }
}

#[derive(Debug, Args)]
pub(crate) struct MasterArguments {
    /// The address of this node
    #[arg(long)]
    ip: Ipv4Addr,
    /// The node's directory
    #[arg(long, default_value_os_t = up::default_dir("master"))]
    dir: PathBuf,
    /// Demand a token, which is made and kept in the directory
    #[arg(long)]
    auth: bool,
}

impl MasterArguments {
    pub(crate) fn config(self) -> MasterConfig {
        let MasterArguments { ip, dir, auth } = self;
        MasterConfig { ip, dir, auth, version: VERSION.to_owned() }
    }
}

#[derive(Debug, Args)]
pub(crate) struct AgentArguments {
    /// The address of the master, with its port if that is not 5050
    #[arg(long, value_parser = master_address)]
    master: SocketAddr,
    /// The address of this node
    #[arg(long)]
    ip: Ipv4Addr,
    /// The node's directory
    #[arg(long, default_value_os_t = up::default_dir("agent"))]
    dir: PathBuf,
    /// Make it a public agent, whose resources are reserved for the role slave_public
    #[arg(long)]
    public: bool,
    /// What it offers, like "cpus:4;mem:2048"; all of the machine for what is not said
    #[arg(long)]
    resources: Option<String>,
    /// Its attributes, like "rack:a;zone:b"
    #[arg(long, default_value = "")]
    attributes: String,
    /// The file with the cluster's token, if the master demands one
    #[arg(long)]
    token_file: Option<PathBuf>,
    #[command(flatten)]
    images: ImageArguments,
}

/// The token in that file, if one is named.
pub(crate) fn auth(token_file: Option<&Path>) -> Result<Auth, up::Error> {
    token_file.map_or_else(|| Ok(Auth::default()), up::read_token)
}

pub(crate) fn master_address(text: &str) -> Result<SocketAddr, String> {
    AgentConfig::master_address(text).ok_or_else(|| {
        "allowed is an IP address, with or without a port: 10.0.0.1 or 10.0.0.1:5050".to_owned()
    })
}

impl AgentArguments {
    pub(crate) fn config(self) -> Result<AgentConfig, up::Error> {
        let AgentArguments { master, ip, dir, public, resources, attributes, token_file, images } = self;
        let images = images.options()?;
        let (auth, version) = (auth(token_file.as_deref())?, VERSION.to_owned());
        Ok(AgentConfig { master, ip, dir, public, resources, attributes, images, auth, version })
    }
}
