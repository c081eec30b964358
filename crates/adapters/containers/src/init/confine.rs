//! Giving up what the agent may and the container may not.

use rustix::process::Resource;
use rustix::thread::{CapabilitySet, CapabilitySets};

use super::{Attempt, Failure};
use crate::capability::Capability;
use crate::clone::install_filter;
use crate::record::Confinement;
use crate::seccomp;
use crate::spec::{Rlimit, RlimitResource, Seccomp};
use crate::user::User;

/// Bounds, confines and changes the user of this process. `full`: as root, with everything; else what any
/// user can do.
pub(super) fn confine(to: &Confinement, user: Option<&User>, full: bool) -> Result<(), Failure> {
    to.rlimits.iter().try_for_each(set_limit)?;
    let mask = Capability::mask(&to.capabilities);
    let filtered = full && to.seccomp == Seccomp::Default;
    // Installing a filter needs what is given up below, or else the promise not to gain it back.
    if filtered && !to.no_new_privileges {
        filter(mask)?;
    }
    if full {
        bound(mask)?;
    }
    if let Some(user) = user.filter(|user| user.uid != rustix::process::getuid().as_raw()) {
        switch_to(user).attempt(|| format!("become user {}", user.name))?;
    } else if full {
        if let Some(user) = user {
            switch_to(user).attempt(|| format!("become user {}", user.name))?;
        }
        let own = rustix::thread::capabilities(None).attempt(|| "ask for capabilities".into())?;
        // What the agent does not have, being confined itself, it cannot give.
        let set = CapabilitySet::from_bits_retain(mask) & own.permitted;
        let none = CapabilitySet::empty();
        let sets = CapabilitySets { effective: set, permitted: set, inheritable: none };
        rustix::thread::set_capabilities(None, sets).attempt(|| "drop capabilities".into())?;
    }
    if to.no_new_privileges {
        rustix::thread::set_no_new_privs(true).attempt(|| "forbid new privileges".into())?;
        if filtered {
            filter(mask)?;
        }
    }
    Ok(())
}

fn filter(capabilities: u64) -> Result<(), Failure> {
    let program = seccomp::docker_default(capabilities).attempt(|| "make the system call filter".into())?;
    install_filter(&program).attempt(|| "install the system call filter".into())
}

/// What not even a set-uid program can get back.
fn bound(mask: u64) -> Result<(), Failure> {
    for capability in Capability::ALL.iter().filter(|capability| mask & 1 << **capability as u8 == 0) {
        match rustix::thread::remove_capability_from_bounding_set(CapabilitySet::from_bits_retain(
            1 << *capability as u8,
        )) {
            // This kernel is older than the capability.
            Ok(()) | Err(rustix::io::Errno::INVAL) => {}
            Err(errno) => {
                return Err(Failure::new(format!("drop capability {}", capability.name()), errno));
            }
        }
    }
    Ok(())
}

/// Groups first: they cannot be changed any more once the user is another.
fn switch_to(user: &User) -> rustix::io::Result<()> {
    let groups: Vec<_> = user.groups.iter().map(|gid| rustix::fs::Gid::from_raw(*gid)).collect();
    let (uid, gid) = (rustix::fs::Uid::from_raw(user.uid), rustix::fs::Gid::from_raw(user.gid));
    rustix::thread::set_thread_groups(&groups)?;
    rustix::thread::set_thread_res_gid(gid, gid, gid)?;
    rustix::thread::set_thread_res_uid(uid, uid, uid)
}

fn set_limit(limit: &Rlimit) -> Result<(), Failure> {
    let wanted = rustix::process::Rlimit { current: limit.soft, maximum: limit.hard };
    rustix::process::setrlimit(resource(limit.resource), wanted).attempt(|| {
        let text = |value: Option<u64>| value.map_or("unlimited".to_owned(), |value| value.to_string());
        format!("set rlimit {:?} to {} of {}", limit.resource, text(limit.soft), text(limit.hard))
    })
}

fn resource(resource: RlimitResource) -> Resource {
    match resource {
        RlimitResource::As => Resource::As,
        RlimitResource::Core => Resource::Core,
        RlimitResource::Cpu => Resource::Cpu,
        RlimitResource::Data => Resource::Data,
        RlimitResource::Fsize => Resource::Fsize,
        RlimitResource::Locks => Resource::Locks,
        RlimitResource::Memlock => Resource::Memlock,
        RlimitResource::Msgqueue => Resource::Msgqueue,
        RlimitResource::Nice => Resource::Nice,
        RlimitResource::Nofile => Resource::Nofile,
        RlimitResource::Nproc => Resource::Nproc,
        RlimitResource::Rss => Resource::Rss,
        RlimitResource::Rtprio => Resource::Rtprio,
        RlimitResource::Rttime => Resource::Rttime,
        RlimitResource::Sigpending => Resource::Sigpending,
        RlimitResource::Stack => Resource::Stack,
    }
}
