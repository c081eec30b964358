/// The directories of a package that are merged into the host's; each may have a twin `DIR_ROLE` per role.
/// Units are merged the same way: see [`WANTS`].
pub const WELL_KNOWN: [&str; 4] = ["bin", "etc", "include", "lib"];

/// The directory of a package that holds its units, merged like [`WELL_KNOWN`] and with the same twins per role.
pub const WANTS: &str = "dcos.target.wants";

/// The units that set a host up and carry all others: no package may bring them.
pub const RESERVED_UNITS: [&str; 3] = ["dcos.target", "dcos-download.service", "dcos-setup.service"];

/// What a package says about itself, a file at its root.
pub const PKGINFO: &str = "pkginfo.json";

/// How a package was built, a file at its root that packages need not have.
pub const BUILDINFO: &str = "buildinfo.full.json";

/// The directory of a package that holds its checks.
pub const CHECKS: &str = "check";

/// The file below `etc` that says which sysctls the services want.
pub const SERVICE_CONFIGURATION: &str = "dcos-service-configuration.json";

/// What follows the id in the file name of a packed package.
pub const TARBALL_SUFFIX: &str = ".tar.xz";

/// Whether a package may ask for this user: `^dcos_[a-z0-9_]+$`.
pub fn is_username(text: &str) -> bool {
    let tail = text.strip_prefix("dcos_").unwrap_or("");
    !tail.is_empty() && tail.bytes().all(|c| matches!(c, b'a'..=b'z' | b'0'..=b'9' | b'_'))
}

/// Whether a package may ask for this group: `^[a-z_][a-z0-9_-]*$`.
pub fn is_group(text: &str) -> bool {
    text.starts_with(|c: char| matches!(c, 'a'..='z' | '_'))
        && text.bytes().all(|c| matches!(c, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_and_groups() {
        for (text, username, group) in [
            ("dcos_mesos", true, true),
            ("dcos_", false, true),
            ("dcos_Mesos", false, false),
            ("root", false, true),
            ("_x-1", false, true),
            ("-x", false, false),
            ("1x", false, false),
            ("", false, false),
            ("dcos_a\n", false, false),
            ("dcos_a-b", false, true),
        ] {
            assert_eq!((is_username(text), is_group(text)), (username, group), "{text:?}");
        }
    }
}
