use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::AsFd;
use std::sync::{Mutex, MutexGuard, PoisonError};

use base::ContainerId;
use host::{SubnetLease, SubnetLeases};
use rustix::io::Errno;

use crate::nft::Element;
use crate::records::{Record, Records};
use crate::socket::Socket;
use crate::subnet::{FIRST, LAST, Subnet, hardware};
use crate::table::{self, Table};
use crate::{Attached, Config, Error, PortMapping, conntrack, link, namespace, ports, probe, setup};

/// The container network of one agent: its bridge, its containers' addresses, its port mappings. Calls
/// block for as long as the kernel takes, a few milliseconds.
///
/// The bridge is made when the first container is attached, and stays until [`Networks::retire`].
#[derive(Debug)]
pub struct Networks {
    config: Config,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    route: Socket,
    netfilter: Socket,
    records: Records,
    made: Option<Made>,
    /// Where the search for a free address begins: one that was just given up is taken again last.
    next: u8,
}

/// The agent's bridge and table.
#[derive(Debug)]
struct Made {
    lease: SubnetLease,
    subnet: Subnet,
}

impl Networks {
    /// Opens the network of `config`, after trying everything it needs in a namespace of a moment. Nothing
    /// is made yet.
    ///
    /// # Errors
    /// [`Error::Unsupported`] names what this machine is missing; or the directory cannot be used.
    pub fn open(config: Config) -> Result<Networks, Error> {
        probe::probe()?;
        let records = Records::open(&config.state_dir)?;
        let socket = |socket: std::io::Result<Socket>| {
            socket.map_err(|source| Error::Kernel { attempted: "open a netlink socket".into(), source })
        };
        let (route, netfilter) = (socket(Socket::route())?, socket(Socket::netfilter())?);
        let state = State { route, netfilter, records, made: None, next: FIRST };
        Ok(Networks { config, state: Mutex::new(state) })
    }

    /// Gives the network namespace of process `pid` an interface `eth0` with an address of its own and a
    /// default route, turns on its loopback interface, and has the agent's `ports` lead to it. The
    /// namespace must be a fresh one of its own.
    ///
    /// # Errors
    /// See [`Error`]; nothing is left of a failed attempt.
    pub fn attach(
        &self,
        container: &ContainerId,
        pid: u32,
        ports: &[PortMapping],
    ) -> Result<Attached, Error> {
        ports::check(ports)?;
        let namespace = namespace::of_process(container, pid)?;
        let state = &mut *self.state();
        if let Some(record) = state.records.get(container) {
            return Err(Error::Attached { container: container.clone(), ip: record.ip });
        }
        ports::check_free(self.config.agent_ip, ports, state.records.all())?;
        let subnet = state.ensure(&self.config)?;
        let ip = state.free_address(&subnet)?;
        let record = Record { ip, ports: ports.to_vec() };
        state.records.add(container, record.clone())?;
        let attached = state.connect(&self.config, &subnet, container, &record, &namespace);
        if let Err(error) = attached {
            // The first error says what was wrong; what could not be taken back is at the next recovery.
            let _ = state.disconnect(&self.config, container);
            return Err(error);
        }
        Ok(Attached { ip, prefix: SubnetLeases::PREFIX, gateway: subnet.gateway() })
    }

    /// Takes a container's network away, whether its namespace still exists or not. A container that has
    /// none is fine.
    ///
    /// # Errors
    /// When the kernel refuses; it can be tried again.
    pub fn detach(&self, container: &ContainerId) -> Result<(), Error> {
        self.state().disconnect(&self.config, container)
    }

    /// After a restart: removes what belongs to no container of `alive`, and makes the port mappings of
    /// those that live anew.
    ///
    /// # Errors
    /// When the kernel refuses; what could be removed is removed.
    pub fn recover(&self, alive: &BTreeSet<ContainerId>) -> Result<(), Error> {
        let state = &mut *self.state();
        let dead: Vec<ContainerId> =
            state.records.all().keys().filter(|container| !alive.contains(*container)).cloned().collect();
        let removed = state.disconnect_all(&self.config, &dead);
        if !state.records.all().is_empty() || self.config.leases.has(&self.config.name) {
            state.ensure(&self.config)?;
        }
        removed
    }

    /// How many containers have a network.
    pub fn attached(&self) -> usize {
        self.state().records.all().len()
    }

    /// Removes everything: the containers' networks, the bridge, the table of packet filters, the lease of
    /// the subnet. What is attached later makes it again.
    ///
    /// # Errors
    /// When the kernel refuses; it can be tried again.
    pub fn retire(&self) -> Result<(), Error> {
        let state = &mut *self.state();
        let all: Vec<ContainerId> = state.records.all().keys().cloned().collect();
        state.disconnect_all(&self.config, &all)?;
        let lease = match state.made.take() {
            Some(made) => made.lease,
            None if !self.config.leases.has(&self.config.name) => return Ok(()),
            None => self.config.leases.take(&self.config.name, |_, mine| mine)?,
        };
        setup::remove(&mut state.route, &mut state.netfilter, &Subnet::of(lease.network()))?;
        lease.give_up();
        Ok(())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // What was half done when a thread panicked is on disk, and is undone like after a crash.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Removes the bridge and the table of the agent called `name`, which does not run, and gives up its subnet:
/// when its containers are gone for good.
///
/// # Errors
/// When the kernel refuses; then the subnet stays leased, and it can be tried again.
pub fn retire_agent(leases: &SubnetLeases, name: &str) -> Result<(), Error> {
    let idle = leases.idle(name);
    if idle.is_empty() {
        return Ok(());
    }
    let opened = Socket::route().and_then(|route| Ok((route, Socket::netfilter()?)));
    let (mut route, mut netfilter) =
        opened.map_err(|source| Error::Kernel { attempted: "open a netlink socket".into(), source })?;
    for lease in idle {
        setup::remove(&mut route, &mut netfilter, &Subnet::of(lease.network()))?;
        lease.give_up();
    }
    Ok(())
}

/// Turns on the loopback interface of the network namespace of process `pid`, which gets no other.
///
/// # Errors
/// See [`Error`].
pub fn isolate(container: &ContainerId, pid: u32) -> Result<(), Error> {
    let namespace = namespace::of_process(container, pid)?;
    let opened = namespace::socket_in(namespace.as_fd());
    let mut inside = opened.map_err(|source| Error::Kernel {
        attempted: "open a netlink socket in the container's network".into(),
        source,
    })?;
    Ok(link::turn_on_loopback(&mut inside)?)
}

impl State {
    /// The agent's subnet, with its bridge and table. Makes what is missing.
    fn ensure(&mut self, config: &Config) -> Result<Subnet, Error> {
        if let Some(made) = &self.made
            && link::find(&mut self.route, made.subnet.bridge()).is_ok()
        {
            return Ok(made.subnet.clone());
        }
        let lease = match self.made.take() {
            Some(made) => made.lease,
            None => {
                let bound = self.records.all().values().next().map(|record| Subnet::containing(record.ip));
                setup::lease(&mut self.route, &config.leases, &config.name, bound.as_ref())?
            }
        };
        let subnet = Subnet::of(lease.network());
        let made = self.make(config, &subnet);
        if let Err(error) = made {
            if self.records.all().is_empty() {
                let _ = setup::remove(&mut self.route, &mut self.netfilter, &subnet);
                lease.give_up();
            }
            return Err(error);
        }
        self.made = Some(Made { lease, subnet: subnet.clone() });
        Ok(subnet)
    }

    fn make(&mut self, config: &Config, subnet: &Subnet) -> Result<(), Error> {
        setup::bridge(&mut self.route, subnet)?;
        let known: BTreeSet<String> =
            self.records.all().values().map(|record| subnet.interface(record.ip)).collect();
        setup::remove_interfaces(&mut self.route, subnet, |name| known.contains(name))?;
        setup::allow_forwarding()?;
        let elements = self.elements();
        table(config, subnet).replace(&mut self.netfilter, &elements)?;
        setup::warn_of_filters(&mut self.netfilter, subnet);
        Ok(())
    }

    /// The mappings of all containers.
    fn elements(&self) -> Vec<Element> {
        self.records.all().iter().flat_map(|(container, record)| record.elements(container)).collect()
    }

    fn free_address(&mut self, subnet: &Subnet) -> Result<Ipv4Addr, Error> {
        let taken: BTreeSet<Ipv4Addr> = self.records.all().values().map(|record| record.ip).collect();
        let last =
            (self.next..=LAST).chain(FIRST..self.next).find(|last| !taken.contains(&subnet.address(*last)));
        let last = last.ok_or_else(|| Error::AddressesExhausted {
            network: subnet.network(),
            addresses: usize::from(LAST - FIRST) + 1,
        })?;
        self.next = if last == LAST { FIRST } else { last + 1 };
        Ok(subnet.address(last))
    }

    fn connect(
        &mut self,
        config: &Config,
        subnet: &Subnet,
        container: &ContainerId,
        record: &Record,
        namespace: &std::fs::File,
    ) -> Result<(), Error> {
        let ip = record.ip;
        let bridge = link::find(&mut self.route, subnet.bridge())?.index;
        let name = subnet.interface(ip);
        link::make_pair(&mut self.route, &name, bridge, namespace.as_fd(), hardware(ip))?;
        let inside = namespace::socket_in(namespace.as_fd());
        let mut inside = inside.map_err(|source| Error::Kernel {
            attempted: format!("enter the network of container {container}"),
            source,
        })?;
        link::configure_container(&mut inside, ip, SubnetLeases::PREFIX, subnet.gateway())?;
        if record.ports.is_empty() {
            return Ok(());
        }
        let table = table(config, subnet);
        match table.add(&mut self.netfilter, &record.elements(container)) {
            // Somebody has flushed all packet filters, as a restart of nftables.service does.
            Err(refused) if refused.is(Errno::NOENT) || refused.is(Errno::EXIST) => {
                let elements = self.elements();
                table.replace(&mut self.netfilter, &elements)?;
            }
            done => done?,
        }
        Ok(self.forget_connections(config, subnet, record)?)
    }

    /// Takes back all that [`State::connect`] did, as far as it got.
    fn disconnect(&mut self, config: &Config, container: &ContainerId) -> Result<(), Error> {
        let Some(record) = self.records.get(container).cloned() else { return Ok(()) };
        let subnet = Subnet::containing(record.ip);
        if !record.ports.is_empty() {
            match table(config, &subnet).take_out(&mut self.netfilter, &record.elements(container)) {
                // The attaching got not so far, or somebody has flushed all packet filters.
                Err(refused) if refused.is(Errno::NOENT) => {
                    self.replace_without(config, &subnet, container)?
                }
                done => done?,
            }
            self.forget_connections(config, &subnet, &record)?;
        }
        link::remove(&mut self.route, &subnet.interface(record.ip))?;
        self.records.remove(container)
    }

    fn disconnect_all(&mut self, config: &Config, containers: &[ContainerId]) -> Result<(), Error> {
        let results = containers.iter().map(|container| self.disconnect(config, container));
        results.fold(Ok(()), Result::and)
    }

    /// Makes the table anew with the mappings of all other containers.
    fn replace_without(
        &mut self,
        config: &Config,
        subnet: &Subnet,
        container: &ContainerId,
    ) -> Result<(), Error> {
        let others = self.records.all().iter().filter(|(other, _)| *other != container);
        let elements: Vec<Element> = others.flat_map(|(other, record)| record.elements(other)).collect();
        if self.made.is_none() && elements.is_empty() {
            return Ok(table::remove(&mut self.netfilter, subnet.bridge())?);
        }
        Ok(table(config, subnet).replace(&mut self.netfilter, &elements)?)
    }

    fn forget_connections(
        &mut self,
        config: &Config,
        subnet: &Subnet,
        record: &Record,
    ) -> Result<(), crate::socket::Refused> {
        let addresses = [config.agent_ip, subnet.gateway()];
        conntrack::forget(&mut self.netfilter, &addresses, &record.udp_ports())
    }
}

fn table<'a>(config: &'a Config, subnet: &'a Subnet) -> Table<'a> {
    let gateway_targets: &[(u16, SocketAddrV4)] = &config.gateway_targets;
    Table { subnet, agent_ip: config.agent_ip, gateway_targets }
}
