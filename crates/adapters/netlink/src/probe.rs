//! Whether this machine can have container networks: everything is made once, in a network namespace that
//! is gone afterwards.

use std::io;
use std::net::{Ipv4Addr, SocketAddrV4};

use rustix::io::Errno;

use crate::nft::Element;
use crate::socket::{Refused, Socket};
use crate::subnet::{Subnet, hardware};
use crate::table::Table;
use crate::{Error, conntrack, link, namespace, nft};

/// Tries everything that attaching a container needs.
pub(crate) fn probe() -> Result<(), Error> {
    let missing = |missing| Err(Error::Unsupported { missing });
    if !host::is_root() {
        return missing("it needs root; tasks with the network HOST run without".to_owned());
    }
    match namespace::in_empty(|namespace| Ok(try_all(namespace))) {
        Ok(Ok(())) => Ok(()),
        Ok(Err(what)) => missing(what),
        Err(error) if error.raw_os_error() == Some(Errno::PERM.raw_os_error()) => {
            missing("making a network namespace is not permitted (CAP_SYS_ADMIN is missing)".to_owned())
        }
        Err(error) => missing(format!("making a network namespace: {error}")),
    }
}

fn try_all(namespace: std::os::fd::BorrowedFd<'_>) -> Result<(), String> {
    let subnet = Subnet::of(Ipv4Addr::new(172, 31, 0, 0));
    let mut route = Socket::route().map_err(|error| format!("the kernel has no rtnetlink: {error}"))?;
    let made = link::make_bridge(&mut route, subnet.bridge(), hardware(subnet.gateway()));
    made.map_err(|refused| lacks("bridges", "bridge", &refused))?;
    let bridge = link::find(&mut route, subnet.bridge()).map_err(said)?.index;
    let gateway = subnet.gateway();
    link::configure_bridge(&mut route, bridge, gateway, host::SubnetLeases::PREFIX).map_err(said)?;
    let ip = subnet.address(crate::subnet::FIRST);
    let made = link::make_pair(&mut route, &subnet.interface(ip), bridge, namespace, hardware(ip));
    made.map_err(|refused| lacks("pairs of interfaces", "veth", &refused))?;
    let mut netfilter = Socket::netfilter().map_err(|error| no_filters(&error))?;
    nft::answers(&mut netfilter).map_err(|refused| no_filters(&refused.source))?;
    let target = SocketAddrV4::new(ip, 80);
    let table = Table { subnet: &subnet, agent_ip: Ipv4Addr::LOCALHOST, gateway_targets: &[(80, target)] };
    table.replace(&mut netfilter, &[Element::of_protocol(6, 80, target, "")]).map_err(|refused| {
        let modules = "nf_conntrack, nf_nat, nft_chain_nat, nft_nat, nft_masq and nft_ct";
        format!(
            "the kernel's packet filters lack a part (its modules {modules} are needed): {}",
            said(refused)
        )
    })?;
    conntrack::forget(&mut netfilter, &[ip], &[53]).map_err(|refused| {
        let lacking = "the kernel does not tell which connections it tracks";
        format!("{lacking} (its module nf_conntrack_netlink is missing): {}", said(refused))
    })
}

fn lacks(what: &str, module: &str, refused: &Refused) -> String {
    if refused.is(Errno::OPNOTSUPP) {
        return format!("the kernel has no {what} (its module {module} is missing)");
    }
    if refused.is(Errno::PERM) {
        return format!("making {what} is not permitted (CAP_NET_ADMIN is missing)");
    }
    format!("{}: {}", refused.asked, refused.source)
}

fn no_filters(error: &io::Error) -> String {
    format!("the kernel has no packet filters (its module nf_tables is missing): {error}")
}

fn said(refused: Refused) -> String {
    format!("{}: {}", refused.asked, refused.source)
}
