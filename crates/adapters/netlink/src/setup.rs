//! The bridge of an agent: making it, and removing it with all that belongs to it.

use std::net::Ipv4Addr;

use host::{SubnetLease, SubnetLeaseError, SubnetLeases};
use rustix::io::Errno;

use crate::link::{self, Link, Route};
use crate::socket::{Refused, Socket};
use crate::subnet::{Subnet, hardware};
use crate::{Error, nft, table};

/// The switch of the host's routing, of this network namespace.
const FORWARDING: &str = "/proc/sys/net/ipv4/ip_forward";

/// Routes that are shorter do not say that their addresses are taken: an organisation's 172.16.0.0/12 by
/// way of its network does not mean that there is such a machine.
const SHORTEST_ROUTE: u8 = 16;

/// Leases a subnet that nothing else of this host uses, or the one that containers have already.
pub(crate) fn lease(
    route: &mut Socket,
    leases: &SubnetLeases,
    name: &str,
    bound: Option<&Subnet>,
) -> Result<SubnetLease, Error> {
    let links = link::all(route)?;
    let routes = link::routes(route)?;
    let usable = |network: Ipv4Addr, mine: bool| match bound {
        Some(bound) => bound.network() == network,
        None => is_free(&Subnet::of(network), mine, &links, &routes),
    };
    leases.take(name, usable).map_err(|error: SubnetLeaseError| error.into())
}

fn is_free(subnet: &Subnet, mine: bool, links: &[Link], routes: &[Route]) -> bool {
    let bridge = links.iter().find(|link| link.name == subnet.bridge());
    let usable = bridge.is_none_or(|bridge| {
        let has_ports = || links.iter().any(|link| link.master == Some(bridge.index));
        bridge.kind.as_deref() == Some("bridge") && (mine || !has_ports())
    });
    let index = bridge.map(|bridge| bridge.index);
    let elsewhere = |route: &Route| {
        route.prefix >= SHORTEST_ROUTE
            && route.overlaps(subnet.network(), SubnetLeases::PREFIX)
            && (route.output.is_none() || route.output != index)
    };
    usable && !routes.iter().any(elsewhere)
}

/// Makes the bridge, or takes the one that is there.
pub(crate) fn bridge(route: &mut Socket, subnet: &Subnet) -> Result<(), Refused> {
    match link::make_bridge(route, subnet.bridge(), hardware(subnet.gateway())) {
        Err(refused) if !refused.is(Errno::EXIST) => return Err(refused),
        _ => {}
    }
    let index = link::find(route, subnet.bridge())?.index;
    link::configure_bridge(route, index, subnet.gateway(), SubnetLeases::PREFIX)
}

/// Removes the interfaces of containers of this subnet but those that `keep` wants.
pub(crate) fn remove_interfaces(
    route: &mut Socket,
    subnet: &Subnet,
    keep: impl Fn(&str) -> bool,
) -> Result<(), Refused> {
    let start = subnet.interfaces();
    for link in link::all(route)? {
        if link.name.starts_with(&start) && !keep(&link.name) {
            link::remove(route, &link.name)?;
        }
    }
    Ok(())
}

/// Removes the subnet's table, interfaces and bridge.
pub(crate) fn remove(route: &mut Socket, netfilter: &mut Socket, subnet: &Subnet) -> Result<(), Refused> {
    table::remove(netfilter, subnet.bridge())?;
    remove_interfaces(route, subnet, |_| false)?;
    link::remove(route, subnet.bridge())
}

/// Turns on the host's routing, unless it is on. It stays on: others may have come to rely on it.
pub(crate) fn allow_forwarding() -> Result<(), Error> {
    let failed = |source| Error::File { attempted: "turn on routing in", path: FORWARDING.into(), source };
    let now = std::fs::read_to_string(FORWARDING).map_err(failed)?;
    if now.trim() == "1" {
        return Ok(());
    }
    std::fs::write(FORWARDING, "1").map_err(failed)
}

/// Says which packet filters of others are in the way. Ours cannot overrule them: what one drops stays
/// dropped.
pub(crate) fn warn_of_filters(netfilter: &mut Socket, subnet: &Subnet) {
    let chains = nft::dropping_forward_chains(netfilter).unwrap_or_default();
    if !chains.is_empty() {
        let (bridge, chains) = (subnet.bridge(), chains.join(", "));
        tracing::warn!(
            bridge,
            chains,
            "packet filters of others drop what is forwarded: containers reach no other host, and other \
             hosts reach no mapped port, until these filters accept what goes through the bridge"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_of_others_that_drop_are_found() {
        if !host::is_root() {
            eprintln!("SKIP packet filters: needs root");
            return;
        }
        let found = crate::namespace::in_empty(|_| {
            let rules = "table ip filter { chain FORWARD { type filter hook forward priority 0; policy drop; } ; \
                         chain INPUT { type filter hook input priority 0; policy drop; } ; chain free { } ; } ; \
                         table inet other { chain fine { type filter hook forward priority 0; } ; } ; \
                         table ip6 six { chain drops { type filter hook forward priority 0; policy drop; } ; }";
            let done = std::process::Command::new("nft").arg(rules).status()?;
            assert!(done.success());
            Ok(nft::dropping_forward_chains(&mut Socket::netfilter()?).unwrap())
        });
        assert_eq!(found.unwrap(), ["filter FORWARD"]);
    }

    #[test]
    fn subnets_that_others_use_are_not_taken() {
        let subnet = Subnet::of(Ipv4Addr::new(172, 31, 254, 0));
        let link = |index, name: &str, master, kind: &str| Link {
            index,
            name: name.into(),
            master,
            kind: Some(kind.into()),
        };
        let route =
            |network: &str, prefix, output| Route { network: network.parse().unwrap(), prefix, output };
        let bridge = || link(3, "dcos254", None, "bridge");
        let own = || route("172.31.254.0", 24, Some(3));
        let check = |mine, links: &[Link], routes: &[Route], expected| {
            assert_eq!(is_free(&subnet, mine, links, routes), expected, "{mine} {links:?} {routes:?}");
        };
        check(false, &[], &[], true);
        check(false, &[], &[route("0.0.0.0", 0, Some(2)), route("172.16.0.0", 12, Some(2))], true);
        check(false, &[], &[route("172.31.240.0", 20, Some(2))], false);
        check(true, &[], &[route("172.31.254.9", 32, None)], false);
        check(false, &[bridge()], &[own()], true);
        check(false, &[bridge(), link(4, "dcos254-2", Some(3), "veth")], &[own()], false);
        check(true, &[bridge(), link(4, "dcos254-2", Some(3), "veth")], &[own()], true);
        check(true, &[link(3, "dcos254", None, "dummy")], &[], false);
    }
}
