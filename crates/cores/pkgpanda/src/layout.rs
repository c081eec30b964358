/// Where things are on the host that a set is made for: what its links and environment say, which need not be where
/// the tree lies while it is built.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    /// The root (absolute, without `/` at its end).
    pub root: String,
    /// The directory of packages (absolute).
    pub repository: String,
    /// The host around the root; none for a tree that is only built: no units, users, state directories.
    pub host: Option<HostLayout>,
}

/// What activation concerns outside of the root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostLayout {
    /// Where units are linked (absolute).
    pub unit_directory: String,
    /// Where state directories are made (absolute).
    pub state_root: String,
}

impl Layout {
    /// The usual places: `/opt/mesosphere`, `/etc/systemd/system`, `/var/lib/dcos`.
    pub fn of_host() -> Self {
        let host = HostLayout {
            unit_directory: "/etc/systemd/system".to_owned(),
            state_root: "/var/lib/dcos".to_owned(),
        };
        Self { host: Some(host), ..Self::of_bootstrap() }
    }

    /// A tree that is built elsewhere and says it is at `/opt/mesosphere`: dependencies of a build, a bootstrap.
    pub fn of_bootstrap() -> Self {
        Self {
            root: "/opt/mesosphere".to_owned(),
            repository: "/opt/mesosphere/packages".to_owned(),
            host: None,
        }
    }
}
