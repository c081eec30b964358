//! The unit files that bring DC/OS up on a host and that no package brings. None of them requires another: a unit that
//! failed keeps nothing else from starting.

/// `dcos.target`: all of DC/OS; units of packages are wanted by it through links in `dcos.target.wants`.
pub const DCOS_TARGET: &str = "dcos.target";
/// `dcos-setup.service`.
pub const DCOS_SETUP: &str = "dcos-setup.service";
/// `dcos-download.service`.
pub const DCOS_DOWNLOAD: &str = "dcos-download.service";

/// Where the bootstrap is, for [`dcos_download`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bootstrap {
    /// The URL below which `bootstrap/ID.bootstrap.tar.xz` lies, without `/` at its end.
    pub url: String,
    /// The id of the bootstrap.
    pub id: String,
    /// The sha256 of the tarball: 64 hexadecimal digits in lower case.
    pub sha256: String,
    /// The directory that the tarball is kept in until it is unpacked (absolute).
    pub scratch: String,
}

impl Bootstrap {
    /// All fields, and the root, that do not fit into a unit file: each is narrower than what systemd and the shell
    /// would take apart.
    pub fn problems(&self, root: &str) -> Vec<BootstrapProblem> {
        let Bootstrap { url, id, sha256, scratch } = self;
        let plain = |text: &str, more: &[u8]| {
            !text.is_empty() && text.bytes().all(|c| c.is_ascii_alphanumeric() || more.contains(&c))
        };
        let mut problems = Vec::new();
        let mut demand = |holds: bool, field, found: &str, allowed| {
            if !holds {
                problems.push(BootstrapProblem { field, found: found.to_owned(), allowed });
            }
        };
        let is_url = plain(url, b"._~:/@[]-") && url.contains("://") && !url.ends_with('/');
        demand(is_url, "url", url, "a URL of letters, digits and ._~:/@[]- without / at its end");
        demand(
            plain(id, b"._-") && !id.starts_with(['.', '-']),
            "id",
            id,
            "letters, digits and ._-, the first no . or -",
        );
        let is_hash = sha256.len() == 64 && sha256.bytes().all(|c| matches!(c, b'0'..=b'9' | b'a'..=b'f'));
        demand(is_hash, "sha256", sha256, "64 hexadecimal digits in lower case");
        for (field, path) in [("root", root), ("scratch", scratch.as_str())] {
            let is_path = plain(path, b"._/-") && path.starts_with('/') && !path.ends_with('/');
            demand(is_path, field, path, "an absolute path of letters, digits and ._/- without / at its end");
        }
        problems
    }
}

/// Why a bootstrap cannot be named in a unit file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field} is {found:?}, allowed is {allowed}")]
pub struct BootstrapProblem {
    /// Which field of [`Bootstrap`].
    pub field: &'static str,
    /// What was found.
    pub found: String,
    /// What is allowed.
    pub allowed: &'static str,
}

/// The text of `dcos.target`.
pub fn dcos_target() -> String {
    "[Unit]\nDescription=DC/OS\n\n[Install]\nWantedBy=multi-user.target\n".to_owned()
}

/// The text of `dcos-setup.service`, for the root of this path: it makes a node of a host at its first start, and at every
/// later one finishes or takes back what a crash left in the middle.
pub fn dcos_setup(root: &str) -> String {
    format!(
        "[Unit]\n\
         Description=Pkgpanda: set DC/OS up on this host\n\
         After=dcos-download.service network-online.target\n\
         ConditionPathExists={root}/bin/pkgpanda\n\
         \n\
         [Service]\n\
         Type=oneshot\n\
         StandardOutput=journal+console\n\
         StandardError=journal+console\n\
         EnvironmentFile=-{root}/environment\n\
         ExecStart={root}/bin/pkgpanda setup --no-block-systemd\n\
         \n\
         [Install]\n\
         WantedBy=multi-user.target\n"
    )
}

/// The text of `dcos-download.service`: it fetches the bootstrap unless the host has one, checks its sha256 and unpacks it
/// beside the root; the root comes to be by one rename, so that a crash leaves none or all of it.
///
/// # Errors
/// All fields that do not fit into a unit file.
pub fn dcos_download(root: &str, bootstrap: &Bootstrap) -> Result<String, Vec<BootstrapProblem>> {
    let problems = bootstrap.problems(root);
    if !problems.is_empty() {
        return Err(problems);
    }
    let Bootstrap { url, id, sha256, scratch } = bootstrap;
    let tarball = format!("{scratch}/{id}.bootstrap.tar.xz");
    // What a former start has fetched whole is not fetched again. An empty directory at the root is replaced, anything
    // else is not. No `Restart=`: systemd before 244 refuses it for a oneshot; curl retries by itself.
    Ok(format!(
        "[Unit]\n\
         Description=Pkgpanda: download DC/OS to this host\n\
         After=network-online.target\n\
         Before=dcos-setup.service\n\
         ConditionPathExists=!{root}/active/\n\
         \n\
         [Service]\n\
         Type=oneshot\n\
         StandardOutput=journal+console\n\
         StandardError=journal+console\n\
         ExecStartPre=/bin/mkdir -p {scratch}\n\
         ExecStartPre=/bin/sh -c 'echo \"{sha256}  {tarball}\" | sha256sum -c --status 2>/dev/null || curl --keepalive-time 2 -fLsS --retry 20 -C - -Y 100000 -y 60 -o {tarball} {url}/bootstrap/{id}.bootstrap.tar.xz || {{ rm -f {tarball}; exit 1; }}'\n\
         ExecStartPre=/bin/sh -c 'echo \"{sha256}  {tarball}\" | sha256sum -c || {{ rm -f {tarball}; exit 1; }}'\n\
         ExecStartPre=/bin/rm -rf {root}.download\n\
         ExecStartPre=/bin/mkdir -p {root}.download\n\
         ExecStartPre=/bin/tar -xJf {tarball} -C {root}.download\n\
         ExecStartPre=/bin/sync\n\
         ExecStart=/bin/mv -T {root}.download {root}\n\
         ExecStartPost=-/bin/rm -f {tarball}\n\
         ExecStartPost=-/bin/rmdir {scratch}\n\
         \n\
         [Install]\n\
         WantedBy=multi-user.target\n"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bootstrap() -> Bootstrap {
        Bootstrap {
            url: "http://10.0.0.1:8080/dcos".to_owned(),
            id: "8e00d9f8".to_owned(),
            sha256: "ab".repeat(32),
            scratch: "/var/lib/dcos-download".to_owned(),
        }
    }

    #[test]
    fn no_unit_requires_another() {
        let download = dcos_download("/opt/mesosphere", &bootstrap()).unwrap();
        for text in [dcos_target(), dcos_setup("/opt/mesosphere"), download] {
            for line in text.lines() {
                assert!(
                    !["Requires=", "Wants=", "BindsTo="].iter().any(|key| line.starts_with(key)),
                    "{line}"
                );
                assert!(line.is_empty() || line.starts_with('[') || line.split_once('=').is_some(), "{line}");
            }
        }
    }

    #[test]
    fn the_download_is_checked_before_it_is_unpacked() {
        let text = dcos_download("/opt/mesosphere", &bootstrap()).unwrap();
        let place = |what: &str| text.find(what).unwrap_or_else(|| panic!("{what} in {text}"));
        let sum = format!(
            "echo \"{}  /var/lib/dcos-download/8e00d9f8.bootstrap.tar.xz\" | sha256sum -c ||",
            "ab".repeat(32)
        );
        assert!(place("http://10.0.0.1:8080/dcos/bootstrap/8e00d9f8.bootstrap.tar.xz") < place(&sum));
        assert!(place(&sum) < place("tar -xJf"));
        assert!(place("tar -xJf") < place("mv -T /opt/mesosphere.download /opt/mesosphere\n"));
    }

    #[test]
    fn what_would_break_out_of_the_unit_file_is_refused() {
        #[track_caller]
        fn check(change: impl FnOnce(&mut Bootstrap), expected: &str) {
            let mut bootstrap = bootstrap();
            change(&mut bootstrap);
            let problems = dcos_download("/opt/mesosphere", &bootstrap).unwrap_err();
            let problems: Vec<String> = problems.iter().map(ToString::to_string).collect();
            assert!(problems.len() == 1 && problems[0].starts_with(expected), "{problems:?}");
        }
        check(|b| b.url = "http://a/'; reboot; '".to_owned(), "url is ");
        check(|b| b.url = "http://a/%n".to_owned(), "url is ");
        check(|b| b.url.push('/'), "url is ");
        check(|b| b.id = "a b".to_owned(), "id is \"a b\"");
        check(|b| b.id = "..".to_owned(), "id is \"..\"");
        check(|b| b.sha256.truncate(63), "sha256 is ");
        check(|b| b.scratch = "tmp".to_owned(), "scratch is \"tmp\"");
        let bad = Bootstrap { id: "%n".to_owned(), ..bootstrap() };
        let fields: Vec<_> = bad.problems("/opt/$x").into_iter().map(|problem| problem.field).collect();
        assert_eq!(fields, ["id", "root"], "all at once");
    }
}
