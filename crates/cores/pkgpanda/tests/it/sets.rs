use api_pkgpanda::{Requirement, Role};
use pkgpanda_core::{Layout, Package, Set, validate};

use crate::package;

/// All problems of these packages on a host of these roles.
#[track_caller]
fn check(packages: &[Package], roles: &[&str], expected: &[&str]) {
    let roles: Vec<Role> = roles.iter().map(|role| role.parse().unwrap()).collect();
    let problems = Set::of(packages, &roles, &Layout::of_host()).err().unwrap_or_default();
    let texts: Vec<String> = problems.iter().map(ToString::to_string).collect();
    assert_eq!(texts, expected);
}

fn with(id: &str, change: impl FnOnce(&mut Package)) -> Package {
    let mut package = package(id, &[], &["lib/x.service/"]);
    package.contents.entries.clear();
    change(&mut package);
    package
}

#[test]
fn names_and_requirements() {
    check(
        &[package("a--1", &[], &[]), package("a--2", &[], &[]), package("b--1", &["a"], &[])],
        &[],
        &["package a is there more than once: a--1, a--2; a set has one version of each"],
    );
    check(
        &[package("a--1", &["b", "c--1"], &[])],
        &[],
        &[
            "package a--1 requires b, which is not in the set",
            "package a--1 requires \"c--1\", which is an exact id: name the package alone, or with its variant",
        ],
    );
    let requires = |variant: Option<&str>| {
        with("a--1", |a| {
            a.info.requires.push(Requirement { name: "b".to_owned(), variant: variant.map(str::to_owned) });
        })
    };
    let b = |variant: Option<&str>| with("b--1", |b| b.info.variant = variant.map(str::to_owned));
    check(&[requires(Some("ssl")), b(Some("ssl"))], &[], &[]);
    check(&[requires(None), b(None)], &[], &[]);
    let built = |variant: serde_json::Value| {
        with("b--1", |b| b.buildinfo = Some(serde_json::json!({"variant": variant})))
    };
    check(&[requires(Some("ssl")), built("ssl".into())], &[], &[]);
    check(&[requires(None), built(serde_json::Value::Null)], &[], &[]);
    check(
        &[requires(Some("ssl")), b(None)],
        &[],
        &[
            "package a--1 requires b in variant ssl, which is not in the set (there it is in the default variant)",
        ],
    );
    check(
        &[requires(Some("ssl")), b(Some("x"))],
        &[],
        &["package a--1 requires b in variant ssl, which is not in the set (there it is in variant x)"],
    );
    check(
        &[requires(None), b(Some("x"))],
        &[],
        &["package a--1 requires b, which is not in the set (there it is in variant x)"],
    );
}

#[test]
fn users_variables_and_kernel_settings() {
    let user = |id, user: Option<&str>, group: Option<&str>| {
        with(id, |package| {
            package.info.username = user.map(str::to_owned);
            package.info.group = group.map(str::to_owned);
        })
    };
    let (a, b) = (user("a--1", Some("root"), None), user("b--1", None, Some("-x")));
    let (c, d) = (user("c--1", Some("dcos_c"), Some("x")), user("d--1", Some("dcos_c"), Some("y")));
    check(
        &[a, b, c, d],
        &[],
        &[
            "package a--1: `username` is \"root\", allowed is dcos_ and letters a-z, digits and _",
            "package b--1: `group` is \"-x\", allowed are letters a-z, digits, _ and - (a letter or _ first)",
            "package b--1: `group` is \"-x\", but there is no `username`, which it needs",
            "user dcos_c is to be in group x by package c--1, in y by d--1",
        ],
    );
    let variable = |id, name: &str| {
        with(id, |package| drop(package.info.environment.insert(name.to_owned(), "1".to_owned())))
    };
    check(
        &[variable("a--1", "PATH"), variable("b--1", "B"), variable("c--1", "B")],
        &[],
        &[
            "package a--1 sets the variable PATH, which is reserved",
            "packages b--1 and c--1 both set the variable B",
        ],
    );
    let sysctl = |id, service: &str, value: i32, path: &str| {
        let mut package = package(id, &[], &[path]);
        package.info.sysctl.insert(service.to_owned(), [("vm.x".to_owned(), value.into())].into());
        package
    };
    let (a, b) = (sysctl("a--1", "s", 1, "lib/s.service"), sysctl("b--1", "t", 2, "bin/t.service"));
    check(
        &[a.clone(), b, sysctl("c--1", "u", 1, "bin/u")],
        &[],
        &[
            "the kernel setting vm.x is 1 by package a--1, 2 by b--1",
            "package c--1 has kernel settings (`sysctl`), but no *.service file that they could be for",
        ],
    );
    check(&[a, sysctl("b--1", "none", 1, "lib/t.service")], &[], &[]);
}

#[test]
fn files_in_each_others_way() {
    let a =
        package("a--1", &[], &["bin/x", "lib/d/f", "etc/g", "bin_master/y", "dcos.target.wants/dcos.target"]);
    let b =
        package("b--1", &[], &["bin/x", "lib/d", "etc/g/h", "bin/y", "etc/dcos-service-configuration.json"]);
    let c = package("c--1", &[], &["include", "bin_other/x", "bin/z", "bin_master/z"]);
    check(
        &[b, c, a],
        &["master"],
        &[
            "bin/x is brought by two packages: a--1 and b--1",
            "bin/y is brought by two packages: a--1 and b--1",
            "package c--1: include is no directory",
            "bin/z is brought twice by c--1, as the host has the roles master",
            "package b--1 brings etc/dcos-service-configuration.json, which pkgpanda writes itself",
            "package a--1 brings the unit dcos.target, which is reserved",
            "etc/g is a directory in package b--1, a file or link in a--1",
            "lib/d is a directory in package a--1, a file or link in b--1",
        ],
    );
    check(&[package("a--1", &[], &["bin/x"]), package("b--1", &[], &["bin_slave/x"])], &["master"], &[]);
}

#[test]
fn the_order_of_packages_does_not_matter() {
    let mut packages = vec![
        package("c--1", &["a"], &["bin/c"]),
        package("a--1", &[], &["bin/a"]),
        package("b--1", &[], &[]),
    ];
    for (package, name) in packages.iter_mut().zip(["C", "A", "B"]) {
        package.info.environment.insert(name.to_owned(), format!("{name} value"));
    }
    let one = Set::of(&packages, &[], &Layout::of_host()).unwrap();
    packages.reverse();
    assert_eq!(Set::of(&packages, &[], &Layout::of_host()).unwrap(), one);
    assert!(validate(&packages).is_empty());
    assert_eq!(
        one.environment,
        "# Pkgpanda provided environment variables\nLD_LIBRARY_PATH=/opt/mesosphere/lib\n\
         PATH=/opt/mesosphere/bin:/usr/bin:/bin:/sbin\n\n# package: a--1\nA=A value\n\n# package: b--1\nB=B value\n\n\
         # package: c--1\nC=C value\n\n"
    );
    assert_eq!(
        one.environment_export,
        "# Pkgpanda provided environment variables\nexport LD_LIBRARY_PATH=/opt/mesosphere/lib\n\
         export PATH=\"/opt/mesosphere/bin:$PATH\"\n\n# package: a--1\nexport A=A value\n\n# package: b--1\n\
         export B=B value\n\n# package: c--1\nexport C=C value\n\n"
    );
    assert_eq!(one.buildinfo, "{\n  \"a\":null,\n  \"b\":null,\n  \"c\":null\n}");
    assert_eq!(one.active.ids(), ["a--1", "b--1", "c--1"]);
    let text = serde_json::to_string(&one.active).unwrap();
    assert_eq!(serde_json::from_str::<pkgpanda_core::ActiveSet>(&text).unwrap(), one.active);
}
