//! The sets of packages that machines are given: small, and with everything that an activation can meet.

use serde_json::json;

use super::package::Package;

/// A script that runs for ever.
pub(super) const FOR_EVER: &str = "exec sleep 86400";

/// A script like an agent's: what it starts once goes on when it is stopped, and is found again.
const WITH_A_TASK: &str =
    "[ -e /srv/task ] || { setsid sleep 86401 & echo $! > /srv/task; }; exec sleep 86400";

/// What another package requires, with variables for all.
pub(super) fn base() -> Package {
    Package::new("base--1")
        .info("environment", json!({"BASE_HOME": "/opt/mesosphere/active/base"}))
        .script("bin/base", "echo base")
        .file("etc/base.conf", "base")
        .file("include/base/base.h", "base")
        .service("dcos-base.service", FOR_EVER)
}

/// The same with another content, so that what requires it is affected.
pub(super) fn newer_base() -> Package {
    Package::new("base--2")
        .info("environment", json!({"BASE_HOME": "/opt/mesosphere/active/base", "BASE_NEW": "yes"}))
        .script("bin/base", "echo newer base")
        .file("etc/base.conf", "newer base")
        .service("dcos-base.service", FOR_EVER)
}

/// What is swapped: it has a task.
pub(super) fn app() -> Package {
    Package::new("app--1")
        .requires(&["base"])
        .info("environment", json!({"APP_VERSION": "1"}))
        .script("bin/app", "echo app 1")
        .file("lib/app/one", "one")
        .file("lib/app/two", "two")
        .file("etc/app", "a file")
        .service("dcos-app.service", WITH_A_TASK)
}

/// Its next version: a directory where a file was and the other way round, files more and files less.
pub(super) fn newer_app() -> Package {
    Package::new("app--2")
        .requires(&["base"])
        .info("environment", json!({"APP_VERSION": "2"}))
        .script("bin/app", "echo app 2")
        .script("bin/app-new", "echo new")
        .file("lib/app", "a file")
        .file("etc/app/directory/file", "a directory")
        .service("dcos-app.service", WITH_A_TASK)
}

/// What nothing is to happen to. It brings the command, as the package of the program does.
pub(super) fn other() -> Package {
    Package::new("other--1")
        .script("bin/other", "echo other")
        // What the machine runs at its start.
        .script("bin/pkgpanda", "exec /usr/local/bin/dcos pkgpanda \"$@\"")
        .file("bin_master/other-on-masters", "master")
        .service("dcos-other.service", FOR_EVER)
}

/// The root of the tree, which requires what DC/OS is made of: what it requires concerns only what requires that.
fn image() -> Package {
    Package::new("image--1").requires(&["app", "base", "other"])
}

/// In the first set only; the second has another package bring its file.
fn gone() -> Package {
    Package::new("gone--1").file("etc/moves", "of gone").service("dcos-gone.service", FOR_EVER)
}

/// In the second set only.
fn extra() -> Package {
    Package::new("extra--1").file("etc/moves", "of extra").service("dcos-extra.service", FOR_EVER)
}

/// The set that machines begin with.
pub(super) fn first() -> Vec<Package> {
    vec![base(), app(), other(), image(), gone()]
}

/// The first with `app` swapped.
pub(super) fn swapped() -> Vec<Package> {
    vec![base(), newer_app(), other(), image(), gone()]
}

/// Another set: changed, added, removed, and files that change owners.
pub(super) fn second() -> Vec<Package> {
    vec![base(), newer_app(), other(), image(), extra()]
}
