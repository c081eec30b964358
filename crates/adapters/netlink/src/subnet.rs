use std::net::Ipv4Addr;

/// The addresses of an agent's containers, and what is named after them: whose an interface is can be read
/// off it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Subnet {
    octets: [u8; 4],
    bridge: String,
}

/// Last octets of a container's address; 1 is the gateway, 255 everybody.
pub(crate) const FIRST: u8 = 2;
pub(crate) const LAST: u8 = 254;

impl Subnet {
    /// The /24 with this network address.
    pub(crate) fn of(network: Ipv4Addr) -> Subnet {
        let octets = network.octets();
        Subnet { octets, bridge: format!("dcos{}", octets[2]) }
    }

    /// The /24 that a container's address is of.
    pub(crate) fn containing(ip: Ipv4Addr) -> Subnet {
        let [a, b, c, _] = ip.octets();
        Subnet::of(Ipv4Addr::new(a, b, c, 0))
    }

    pub(crate) fn network(&self) -> Ipv4Addr {
        self.octets.into()
    }

    /// What all its addresses start with.
    pub(crate) fn start(&self) -> &[u8] {
        &self.octets[..3]
    }

    pub(crate) fn gateway(&self) -> Ipv4Addr {
        self.address(1)
    }

    pub(crate) fn address(&self, last: u8) -> Ipv4Addr {
        let [a, b, c, _] = self.octets;
        Ipv4Addr::new(a, b, c, last)
    }

    /// The name of the bridge, and of the table of packet filters.
    pub(crate) fn bridge(&self) -> &str {
        &self.bridge
    }

    /// What the names of the bridge's interfaces start with.
    pub(crate) fn interfaces(&self) -> String {
        format!("{}-", self.bridge)
    }

    /// The host's end of the container's pair of interfaces.
    pub(crate) fn interface(&self, ip: Ipv4Addr) -> String {
        format!("{}-{}", self.bridge, ip.octets()[3])
    }
}

/// The hardware address of the interface with this address: the same each time, so that nobody who remembers
/// it is wrong. Locally administered.
pub(crate) fn hardware(ip: Ipv4Addr) -> [u8; 6] {
    let [a, b, c, d] = ip.octets();
    [0x02, 0xdc, a, b, c, d]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_fit_into_the_kernels_fifteen_bytes() {
        let subnet = Subnet::containing(Ipv4Addr::new(172, 31, 254, 254));
        assert_eq!(subnet.bridge(), "dcos254");
        assert_eq!(subnet.interface(subnet.address(254)), "dcos254-254");
        assert!(subnet.interface(subnet.address(LAST)).starts_with(&subnet.interfaces()));
        assert_eq!(subnet.gateway(), Ipv4Addr::new(172, 31, 254, 1));
        assert_eq!(subnet, Subnet::of(subnet.network()));
        assert_eq!(hardware(subnet.gateway()), [2, 0xdc, 172, 31, 254, 1]);
    }
}
