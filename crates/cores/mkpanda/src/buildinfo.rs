//! What a package is built from: `[VARIANT.]buildinfo.json`.

use std::collections::{BTreeMap, BTreeSet};

use api_pkgpanda::{PackageName, PkgInfo, Requirement, is_group, is_username, looks_like_id};
use serde_json::{Map, Value};

use crate::problem::{Invalid, Problem};
use crate::read::Reader;
use crate::source::{self, Source};
use crate::variant::{PackageKey, Variant};

/// The image of builds that name none.
pub const DEFAULT_DOCKER: &str = "dcos/dcos-builder:dcos-builder_dockerdir-latest";
/// The script of builds that name none.
pub const DEFAULT_BUILD_SCRIPT: &str = "build";

/// The longest `version_extra`.
const MAX_VERSION_EXTRA: usize = 64;

/// Every key of a `buildinfo.json`.
const KEYS: [&str; 12] = [
    "build_script",
    "docker",
    "environment",
    "group",
    "network",
    "requires",
    "single_source",
    "sources",
    "state_directory",
    "sysctl",
    "username",
    "version_extra",
];

/// Keys that are part of a version's inputs, and of no `buildinfo.json`, with where they come from.
const DERIVED: [(&str, &str); 5] = [
    ("name", "it is the name of the package's folder"),
    ("variant", "it is in the file's name: VARIANT.buildinfo.json"),
    ("pkgpanda_version", "it is that of the rules by which versions are made"),
    ("build", "it is the hash of the build script, which build_script names"),
    ("extra_source", "it is the hash of the folder extra"),
];

/// Names of sources that are taken in a package's directory of the cache, where each source has its own.
const TAKEN: [&str; 4] = ["build.log", "latest", "result", "src"];

/// Variables that every environment file begins with.
const RESERVED_ENVIRONMENT: [&str; 2] = ["LD_LIBRARY_PATH", "PATH"];

/// What a package is built from, and what it says about itself afterwards.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct BuildInfo {
    /// The sources by name. A `single_source` is called as the package.
    pub sources: BTreeMap<String, Source>,
    /// The build script's path in the package's folder.
    pub build_script: String,
    /// The image of the container that it runs in.
    pub docker: String,
    /// Whether the build sees the host's network. Not in the original, where all builds do.
    pub network: bool,
    /// Variables of every service on the host.
    pub environment: BTreeMap<String, String>,
    /// The packages that have to be there when it is built and when it is active, as written.
    pub requires: Vec<PackageKey>,
    /// Whether the package has a directory below `/var/lib/dcos`.
    pub state_directory: bool,
    /// The user of its services.
    pub username: Option<String>,
    /// A group that the user must be in.
    pub group: Option<String>,
    /// Kernel settings by service: texts, whole numbers or booleans. `None` if not given, which hashes otherwise
    /// than an empty object.
    pub sysctl: Option<BTreeMap<String, BTreeMap<String, Value>>>,
    /// What the version begins with, before an underscore and the hash. (In the original the joint is a `-`, which
    /// no version may have: there it always fails.)
    pub version_extra: Option<String>,
}

impl BuildInfo {
    /// Reads the text of a `[VARIANT.]buildinfo.json` of the package `name`. An empty file is an empty object.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn parse(name: &PackageName, text: &str) -> Result<BuildInfo, Invalid> {
        let members = crate::json::object(text)?;
        let mut reader = Reader::default();
        check_keys(&mut reader, &members);
        let info = read(&mut reader, name, &members);
        reader.or(Some(info))
    }

    /// What `pkginfo.json` says of the package. (The original never writes the variant.)
    #[must_use]
    pub fn pkginfo(&self) -> PkgInfo {
        let requirement = |key: &PackageKey| Requirement {
            name: key.name.to_string(),
            variant: key.variant.name().map(str::to_owned),
        };
        PkgInfo {
            environment: self.environment.clone(),
            requires: self.requires.iter().map(requirement).collect(),
            state_directory: self.state_directory,
            username: self.username.clone(),
            group: self.group.clone(),
            sysctl: self.sysctl.clone().unwrap_or_default(),
            variant: None,
        }
    }
}

fn check_keys(reader: &mut Reader, members: &Map<String, Value>) {
    for name in members.keys().filter(|name| !KEYS.contains(&name.as_str())) {
        match DERIVED.iter().find(|(derived, _)| derived == name) {
            Some((_, source)) => {
                reader.note(Problem::new(name, format!("must not be given: {source}")));
            }
            None => reader.unknown(name, name, &KEYS, "a buildinfo"),
        }
    }
}

/// Fields that cannot be read get their defaults: the problems decide.
fn read(reader: &mut Reader, name: &PackageName, members: &Map<String, Value>) -> BuildInfo {
    let sources = sources(reader, name, members).unwrap_or_default();
    let mut field = |key: &str, read: fn(&mut Reader, &str, &Value) -> Option<String>| {
        members.get(key).and_then(|value| read(reader, key, value))
    };
    let build_script = field("build_script", script);
    let docker = field("docker", image);
    let username = field("username", |reader, at, value| {
        reader.text_that(at, value, is_username, "dcos_ and lower case letters, digits and _")
    });
    let group = field("group", |reader, at, value| {
        let allowed = "lower case letters, digits, _ and - (the first one a letter or _)";
        reader.text_that(at, value, is_group, allowed)
    });
    let version_extra = field("version_extra", version_extra);
    if members.contains_key("group") && !members.contains_key("username") {
        reader.note(Problem::new("group", "needs a username: it is the group that the user must be in"));
    }
    let mut flag = |key: &str| members.get(key).and_then(|value| reader.bool(key, value)).unwrap_or(false);
    let (state_directory, network) = (flag("state_directory"), flag("network"));
    let environment = members.get("environment").and_then(|value| environment(reader, value));
    let requires = members.get("requires").and_then(|value| requires(reader, value));
    let sysctl = members.get("sysctl").and_then(|value| {
        reader.members("sysctl", value, |reader, at, value| reader.members(at, value, setting))
    });
    BuildInfo {
        sources,
        build_script: build_script.unwrap_or_else(|| DEFAULT_BUILD_SCRIPT.to_owned()),
        docker: docker.unwrap_or_else(|| DEFAULT_DOCKER.to_owned()),
        network,
        environment: environment.unwrap_or_default(),
        requires: requires.unwrap_or_default(),
        state_directory,
        username,
        group,
        sysctl,
        version_extra,
    }
}

fn sources(
    reader: &mut Reader,
    name: &PackageName,
    members: &Map<String, Value>,
) -> Option<BTreeMap<String, Source>> {
    match (members.get("sources"), members.get("single_source")) {
        (Some(_), Some(_)) => {
            reader.note(Problem::new("single_source", "stands beside sources; only one of them may be given"));
            None
        }
        (Some(sources), None) => reader.members("sources", sources, |reader, at, value| {
            let source = at.strip_prefix("sources.").expect("members are told with their path");
            if source.parse::<PackageName>().is_err() || is_taken(source) {
                let taken = TAKEN.join(", ");
                let message = format!(
                    "is no name for a source: allowed are letters, digits and @._+- (the first one no `.` and no \
                     `-`), but not what the cache calls its own: {taken}, an end of .latest or .build.log, and --"
                );
                reader.note(Problem::new(at, message));
            }
            source::read(reader, at, value)
        }),
        (None, Some(source)) => {
            let source = source::read(reader, "single_source", source)?;
            Some(BTreeMap::from([(name.to_string(), source)]))
        }
        (None, None) => None,
    }
}

/// The cache keeps `ID.tar.xz`, `VARIANT.latest` and such where each source has its directory.
fn is_taken(source: &str) -> bool {
    TAKEN.contains(&source)
        || source.contains("--")
        || [".latest", ".build.log"].iter().any(|ending| source.ends_with(ending))
}

fn script(reader: &mut Reader, at: &str, value: &Value) -> Option<String> {
    let is_inside = |path: &str| {
        !path.is_empty()
            && !path.contains(char::is_control)
            && path.split('/').all(|part| !part.is_empty() && part != "." && part != "..")
    };
    reader.text_that(at, value, is_inside, "the path of a file in the package's folder, without . and ..")
}

fn image(reader: &mut Reader, at: &str, value: &Value) -> Option<String> {
    let is_plain = |name: &str| {
        !name.is_empty()
            && !name.starts_with(['-', '.', '/'])
            && !name.split('/').any(|part| part == "..")
            && name.bytes().all(|c| c.is_ascii_graphic())
    };
    let allowed = "the name of a folder below docker or the reference of an image";
    reader.text_that(at, value, is_plain, allowed)
}

fn version_extra(reader: &mut Reader, at: &str, value: &Value) -> Option<String> {
    let is_version = |text: &str| {
        !text.is_empty()
            && text.len() <= MAX_VERSION_EXTRA
            && text.bytes().all(|c| c.is_ascii_alphanumeric() || b"@_+:.".contains(&c))
    };
    let allowed = format!("1 to {MAX_VERSION_EXTRA} letters, digits and @_+:. (no -, which no version has)");
    reader.text_that(at, value, is_version, &allowed)
}

fn environment(reader: &mut Reader, value: &Value) -> Option<BTreeMap<String, String>> {
    reader.members("environment", value, |reader, at, value| {
        let name = at.strip_prefix("environment.").expect("members are told with their path");
        if RESERVED_ENVIRONMENT.contains(&name) {
            let message = "must not be given: it is the same for all packages of a host";
            reader.note(Problem::new(at, message));
        } else if name.is_empty() || name.contains(|c: char| c == '=' || c.is_control() || c.is_whitespace())
        {
            let message =
                "is no name for a variable: it must not be empty nor hold =, spaces and control characters";
            reader.note(Problem::new(at, message));
        }
        match value {
            Value::String(text) if !text.contains(['\n', '\r', '\0']) => Some(text.clone()),
            // Its hash is that of its digits.
            Value::Number(number) if !number.is_f64() => Some(number.to_string()),
            _ => reader.wrong(at, value, "a text of one line or a whole number"),
        }
    })
}

fn setting(reader: &mut Reader, at: &str, value: &Value) -> Option<Value> {
    match value {
        Value::String(_) | Value::Bool(_) => Some(value.clone()),
        Value::Number(number) if !number.is_f64() => Some(value.clone()),
        _ => reader.wrong(at, value, "a text, a whole number, true or false"),
    }
}

fn requires(reader: &mut Reader, value: &Value) -> Option<Vec<PackageKey>> {
    let items = reader.list("requires", value)?;
    let mut keys: Vec<PackageKey> = Vec::new();
    let mut names = BTreeSet::new();
    for (index, item) in items.iter().enumerate() {
        let at = format!("requires[{index}]");
        let Some(key) = requirement(reader, &at, item) else { continue };
        if !names.insert(key.name.clone()) {
            reader.note(Problem::new(at, format!("{} is required twice", key.name)));
        }
        keys.push(key);
    }
    Some(keys)
}

fn requirement(reader: &mut Reader, at: &str, value: &Value) -> Option<PackageKey> {
    let Ok(Requirement { name, variant }) = Requirement::from_json(at, value) else {
        return reader.wrong(at, value, "the name of a package, or an object of exactly name and variant");
    };
    if looks_like_id(&name) {
        return reader.wrong(at, value, "the name of a package alone: its version is the one in the tree");
    }
    let Ok(name) = name.parse() else {
        let allowed = "the name of a package: letters, digits and @._+- (the first one no `.` and no `-`)";
        return reader.wrong(at, value, allowed);
    };
    match Variant::named(variant.as_deref().unwrap_or_default()) {
        Ok(variant) => Some(PackageKey { name, variant }),
        Err(_) => reader.wrong(
            at,
            value,
            "as its variant letters, digits and @._+- (the first one no `.` and no `-`)",
        ),
    }
}

#[cfg(test)]
mod tests;
