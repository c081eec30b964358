use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use hickory_resolver::TokioResolver;
use tokio::sync::OnceCell;
use tokio::time::timeout;

/// Addresses of one host that are tried: each may take a whole timeout.
const ADDRESSES: usize = 6;

/// Resolves names as `/etc/hosts` and `/etc/resolv.conf` say. Both are read at the first name that needs them.
#[derive(Default)]
pub(crate) struct Names {
    resolver: OnceCell<TokioResolver>,
}

impl Names {
    /// The addresses of `host`, at least one, IPv4 first: in a datacenter's networks it is what works.
    pub(crate) async fn resolve(&self, host: &str, within: Duration) -> Result<Vec<IpAddr>, String> {
        if let Ok(address) = host.parse() {
            return Ok(vec![address]);
        }
        let name = host.trim_end_matches('.');
        // RFC 6761: no server is to be asked.
        if name.eq_ignore_ascii_case("localhost") || ends_with_label(name, "localhost") {
            return Ok(vec![IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)]);
        }
        let resolver = self
            .resolver
            .get_or_try_init(|| async { TokioResolver::builder_tokio().and_then(|builder| builder.build()) });
        let resolver = resolver.await.map_err(|error| format!("/etc/resolv.conf: {error}"))?;
        let found = timeout(within, resolver.lookup_ip(host)).await;
        let found = found.map_err(|_| format!("no answer within {} s", within.as_secs()))?;
        let found = found.map_err(|error| base::with_causes(&error))?;
        let mut addresses: Vec<IpAddr> = found.iter().collect();
        addresses.sort_by_key(IpAddr::is_ipv6);
        addresses.truncate(ADDRESSES);
        if addresses.is_empty() { Err("it has no address".to_owned()) } else { Ok(addresses) }
    }
}

fn ends_with_label(name: &str, label: &str) -> bool {
    name.rsplit_once('.').is_some_and(|(_, last)| last.eq_ignore_ascii_case(label))
}
