use std::fmt;
use std::net::Ipv4Addr;
use std::str::FromStr;

/// An IPv4 network whose addresses the nodes of a cluster take: the master the first, agents the
/// following ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Subnet {
    network: u32,
    prefix: u8,
}

/// Why a text is no subnet.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SubnetError {
    /// Not an address, a slash and a number.
    #[error("{0:?} is no IPv4 network, allowed is one like 127.0.7.0/24")]
    Syntax(String),
    /// Too large to be meant, or too small for a master and an agent.
    #[error("{text:?} has a prefix of {prefix} bits, allowed are 8 to 29")]
    Prefix {
        /// What was found.
        text: String,
        /// Its number of bits.
        prefix: u8,
    },
    /// The address is one within the network.
    #[error("{text:?} names an address within a network, allowed is the network: {network}")]
    Host {
        /// What was found.
        text: String,
        /// The network it is in.
        network: Subnet,
    },
}

impl Subnet {
    /// The network that clusters take if none is named, 127.0.0.0/24.
    pub const DEFAULT: Subnet = Subnet { network: 0x7f00_0000, prefix: 24 };

    /// The `number`th address, 1 the first; none beyond the last that a host may have.
    pub fn address(self, number: u32) -> Option<Ipv4Addr> {
        (1..=self.hosts()).contains(&number).then(|| Ipv4Addr::from(self.network + number))
    }

    /// How many addresses hosts may have: all but the network's and the broadcast address.
    pub fn hosts(self) -> u32 {
        (1 << (32 - self.prefix)) - 2
    }

    /// The networks of the same size from this one on, as long as they are loopback addresses.
    pub(crate) fn following(self) -> impl Iterator<Item = Subnet> {
        let size = 1u32 << (32 - self.prefix);
        let next = move |subnet: &Subnet| {
            let network = subnet.network.checked_add(size)?;
            Ipv4Addr::from(network).is_loopback().then_some(Subnet { network, prefix: self.prefix })
        };
        std::iter::successors(next(&self), next)
    }
}

impl FromStr for Subnet {
    type Err = SubnetError;

    fn from_str(text: &str) -> Result<Subnet, SubnetError> {
        let syntax = || SubnetError::Syntax(text.to_owned());
        let (address, prefix) = text.split_once('/').ok_or_else(syntax)?;
        let address: Ipv4Addr = address.parse().map_err(|_| syntax())?;
        if prefix.starts_with('+') {
            return Err(syntax());
        }
        let prefix: u8 = prefix.parse().map_err(|_| syntax())?;
        if !(8..=29).contains(&prefix) {
            return Err(SubnetError::Prefix { text: text.to_owned(), prefix });
        }
        let network = u32::from(address) & (u32::MAX << (32 - prefix));
        let subnet = Subnet { network, prefix };
        match network == u32::from(address) {
            true => Ok(subnet),
            false => Err(SubnetError::Host { text: text.to_owned(), network: subnet }),
        }
    }
}

impl fmt::Display for Subnet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", Ipv4Addr::from(self.network), self.prefix)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_are_read_and_what_is_none_is_refused() {
        let check = |text: &str, message: &str| match text.parse::<Subnet>() {
            Ok(subnet) => assert_eq!((subnet.to_string().as_str(), ""), (text, message)),
            Err(error) => assert_eq!(error.to_string(), message, "{text}"),
        };
        check("127.0.7.0/24", "");
        check("10.0.0.0/8", "");
        for text in ["", "127.0.7.0", "127.0.7/24", "127.0.7.0/x", "::1/64", "127.0.7.0/+24", "a/24"] {
            check(text, &format!("{text:?} is no IPv4 network, allowed is one like 127.0.7.0/24"));
        }
        check("127.0.0.0/30", "\"127.0.0.0/30\" has a prefix of 30 bits, allowed are 8 to 29");
        let message =
            "\"127.0.7.3/24\" names an address within a network, allowed is the network: 127.0.7.0/24";
        check("127.0.7.3/24", message);
    }

    #[test]
    fn addresses_begin_at_one_and_end() {
        let subnet: Subnet = "127.0.7.0/29".parse().unwrap();
        assert_eq!(subnet.address(0), None);
        assert_eq!(subnet.address(1), Some(Ipv4Addr::new(127, 0, 7, 1)));
        assert_eq!(subnet.address(6), Some(Ipv4Addr::new(127, 0, 7, 6)));
        assert_eq!(subnet.address(7), None);
    }

    #[test]
    fn following_networks_stay_on_the_loopback_interface() {
        let following: Vec<String> =
            "127.255.254.0/24".parse::<Subnet>().unwrap().following().map(|s| s.to_string()).collect();
        assert_eq!(following, ["127.255.255.0/24"]);
        assert_eq!("10.0.0.0/24".parse::<Subnet>().unwrap().following().count(), 0);
    }
}
