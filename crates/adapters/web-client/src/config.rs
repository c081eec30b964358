use std::path::PathBuf;
use std::time::Duration;

/// Limits and surroundings of a [`crate::WebClient`].
#[derive(Clone, Debug)]
pub struct Config {
    /// How long resolving a name, opening a connection and agreeing on keys may take, each.
    pub connect_timeout: Duration,
    /// How long the head of a response may take to come.
    pub head_timeout: Duration,
    /// How long a body may pause.
    pub stall_timeout: Duration,
    /// How many redirects are followed.
    pub max_redirects: u32,
    /// Files with certificates (PEM) that are trusted beside the system's.
    pub extra_roots: Vec<PathBuf>,
    /// The proxy for `http` servers, such as `http://proxy:3128`.
    pub http_proxy: Option<String>,
    /// The proxy for `https` servers.
    pub https_proxy: Option<String>,
    /// Whom no proxy is asked for: hosts and domains, parted by commas; `*` is everybody.
    pub no_proxy: String,
    /// What servers are told is asking.
    pub user_agent: String,
}

impl Default for Config {
    fn default() -> Config {
        Config {
            connect_timeout: Duration::from_secs(10),
            head_timeout: Duration::from_secs(30),
            stall_timeout: Duration::from_secs(60),
            max_redirects: 10,
            extra_roots: Vec::new(),
            http_proxy: None,
            https_proxy: None,
            no_proxy: String::new(),
            user_agent: concat!("dcos/", env!("CARGO_PKG_VERSION")).to_owned(),
        }
    }
}

impl Config {
    /// The usual limits, and the proxies that the environment names: `http_proxy`, `https_proxy`, `no_proxy`, the
    /// last two in upper case too. `HTTP_PROXY` is left out: where a program runs as a CGI, a request could set it.
    pub fn from_environment() -> Config {
        let find = |names: &[&str]| {
            names.iter().find_map(|name| std::env::var(name).ok()).filter(|value| !value.is_empty())
        };
        Config {
            http_proxy: find(&["http_proxy"]),
            https_proxy: find(&["https_proxy", "HTTPS_PROXY"]),
            no_proxy: find(&["no_proxy", "NO_PROXY"]).unwrap_or_default(),
            ..Config::default()
        }
    }
}
