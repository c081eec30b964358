//! The texts of a generation's files. Packages come in the order of their ids, so that equal sets make equal files.

use std::fmt::Write as _;

use api_pkgpanda::json;
use serde_json::{Map, Value, json};

use crate::Package;

/// `environment`: what units read (`EnvironmentFile=`). pkgpanda: `Install.activate`. Values stand as the package wrote
/// them, quotes included: systemd and shells read them alike.
pub(crate) fn environment(root: &str, packages: &[&Package]) -> String {
    let mut text = format!(
        "# Pkgpanda provided environment variables\nLD_LIBRARY_PATH={root}/lib\nPATH={root}/bin:/usr/bin:/bin:/sbin\n\n"
    );
    variables(&mut text, packages, |text, key, value| writeln!(text, "{key}={value}"));
    text
}

/// `environment.export`: what shells read.
pub(crate) fn environment_export(root: &str, packages: &[&Package]) -> String {
    let mut text = format!(
        "# Pkgpanda provided environment variables\nexport LD_LIBRARY_PATH={root}/lib\nexport PATH=\"{root}/bin:$PATH\"\n\n"
    );
    variables(&mut text, packages, |text, key, value| writeln!(text, "export {key}={value}"));
    text
}

fn variables(
    text: &mut String,
    packages: &[&Package],
    line: impl Fn(&mut String, &str, &str) -> std::fmt::Result,
) {
    for package in packages {
        writeln!(text, "# package: {}", package.id).expect("a String takes everything");
        for (key, value) in &package.info.environment {
            line(text, key, value).expect("a String takes everything");
        }
        text.push('\n');
    }
}

/// `active.buildinfo.full.json`: how each package was built, null where it does not tell.
pub(crate) fn buildinfo(packages: &[&Package]) -> String {
    let all: Map<String, Value> = packages
        .iter()
        .map(|package| (package.id.name().to_owned(), package.buildinfo.clone().unwrap_or(Value::Null)))
        .collect();
    json::pretty_value(&Value::Object(all))
}

/// `etc/dcos-service-configuration.json`: kernel settings of the services that there are.
pub(crate) fn service_configuration(packages: &[&Package]) -> String {
    let mut sysctl = Map::new();
    for package in packages {
        for (service, settings) in &package.info.sysctl {
            let is_there = |file: &String| file.strip_suffix(".service") == Some(service);
            if package.contents.services.iter().any(is_there) {
                sysctl.insert(service.clone(), json!(settings));
            }
        }
    }
    json::pretty(&json!({ "sysctl": sysctl }))
}
