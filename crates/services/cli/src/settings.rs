//! What is kept of one cluster: its `dcos.toml`. dcos-cli: `config.Config`.

use std::fs::OpenOptions;
use std::io::{ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use base::nearest;
use toml::{Table, Value};

use crate::Error;

/// The properties that are known, each with what it means. dcos-cli: `Keys`; those of what this program
/// does not do are left out.
pub(crate) const KEYS: [(&str, &str); 7] = [
    ("cluster.name", "human readable name of cluster"),
    ("core.dcos_acs_token", "the DC/OS authentication token"),
    ("core.dcos_url", "the public master URL of your DC/OS cluster"),
    (
        "core.ssl_verify",
        "indicates whether to verify SSL certificates or set the path to the SSL certificates",
    ),
    (
        "core.timeout",
        "the request timeout in seconds, with a minimum value of 1 second (defaults to 3 minutes)",
    ),
    ("core.pagination", "kept for other programs: indicates whether to paginate output"),
    ("core.reporting", "kept for other programs: whether to report usage events"),
];
/// Properties that are booleans.
const BOOLEANS: [&str; 3] = ["core.pagination", "core.reporting", "core.prompt_login"];
/// Properties of the official CLI that mean nothing here and are kept.
const OTHERS: [&str; 4] =
    ["core.mesos_master_url", "core.prompt_login", "core.ssh_proxy_ip", "core.ssh_user"];
/// The properties that variables of the environment go before.
const VARIABLES: [(&str, &str); 2] =
    [("core.ssl_verify", "DCOS_SSL_VERIFY"), ("core.timeout", "DCOS_TIMEOUT")];
/// The largest file that is read, in bytes.
const LIMIT: u64 = 1 << 20;

/// The settings of one cluster.
#[derive(Clone, Debug, Default)]
pub(crate) struct Settings {
    path: PathBuf,
    table: Table,
}

impl Settings {
    /// New settings, which are to be kept in that file.
    pub(crate) fn new(path: PathBuf) -> Settings {
        Settings { path, table: Table::new() }
    }

    /// Reads a file; none if it is not there.
    pub(crate) fn read(path: &Path) -> Result<Option<Settings>, Error> {
        let failed = |why: String| Error::new(format!("{} cannot be read: {why}", path.display()));
        let text = match std::fs::metadata(path) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Ok(data) if data.len() > LIMIT => return Err(failed("it is too large".to_owned())),
            _ => std::fs::read_to_string(path).map_err(|error| failed(error.to_string()))?,
        };
        let table = text.parse::<Table>().map_err(|error| {
            failed(error.message().to_owned()).hint("Repair it, or remove it and set the cluster up again.")
        })?;
        Ok(Some(Settings { path: path.to_owned(), table }))
    }

    /// The file.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Where the cluster's files are.
    pub(crate) fn dir(&self) -> &Path {
        self.path.parent().unwrap_or(Path::new("/"))
    }

    /// The id of the cluster: the name of its directory.
    pub(crate) fn id(&self) -> String {
        self.dir().file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
    }

    /// The value of a property as text, the environment's before the file's.
    pub(crate) fn get(&self, key: &str, variable: impl Fn(&str) -> Option<String>) -> Option<String> {
        let variables = VARIABLES.iter().find(|(name, _)| *name == key);
        variables.and_then(|(_, name)| variable(name)).or_else(|| self.kept(key))
    }

    /// The value of a property in the file, as text.
    pub(crate) fn kept(&self, key: &str) -> Option<String> {
        match self.value(key)? {
            Value::Table(_) | Value::Array(_) => None,
            Value::String(text) => Some(text.clone()),
            other => Some(other.to_string()),
        }
    }

    fn value(&self, key: &str) -> Option<&Value> {
        let (first, rest) = key.split_once('.').map_or((key, None), |(first, rest)| (first, Some(rest)));
        let mut found = self.table.get(first)?;
        for name in rest.into_iter().flat_map(|rest| rest.split('.')) {
            found = found.as_table()?.get(name)?;
        }
        Some(found)
    }

    /// Every property that has a value, in order.
    pub(crate) fn keys(&self, variable: impl Fn(&str) -> Option<String>) -> Vec<String> {
        let mut keys = Vec::new();
        collect(&self.table, "", &mut keys);
        let set = VARIABLES.iter().filter(|(_, name)| variable(name).is_some());
        keys.extend(set.map(|(key, _)| (*key).to_owned()));
        keys.sort();
        keys.dedup();
        keys
    }

    /// Gives a property a value. Another URL makes the token void.
    ///
    /// # Errors
    /// When there is no such property, or it cannot have that value.
    pub(crate) fn set(&mut self, key: &str, value: &str) -> Result<(), Error> {
        let value = checked(key, value)?;
        if key == "core.dcos_url" && self.kept(key).is_some_and(|kept| Some(&*kept) != value.as_str()) {
            self.unset("core.dcos_acs_token");
        }
        let mut names: Vec<&str> = key.split('.').collect();
        let last = names.pop().unwrap_or_default();
        let mut table = &mut self.table;
        for name in names {
            let below = table.entry(name).or_insert_with(|| Value::Table(Table::new()));
            table = below
                .as_table_mut()
                .ok_or_else(|| Error::new(format!("'{key}' cannot be set: '{name}' has a value itself")))?;
        }
        table.insert(last.to_owned(), value);
        Ok(())
    }

    /// Takes a property's value away; whether it had one.
    pub(crate) fn unset(&mut self, key: &str) -> bool {
        if key == "core.dcos_url" {
            self.unset("core.dcos_acs_token");
        }
        let mut names: Vec<&str> = key.split('.').collect();
        let last = names.pop().unwrap_or_default();
        let mut table = &mut self.table;
        for name in names {
            match table.get_mut(name).and_then(Value::as_table_mut) {
                Some(below) => table = below,
                None => return false,
            }
        }
        table.remove(last).is_some()
    }

    /// What is wrong with the values that there are.
    pub(crate) fn problems(&self) -> Vec<String> {
        let mut keys = Vec::new();
        collect(&self.table, "", &mut keys);
        let check = |key: &String| checked(key, &self.kept(key).unwrap_or_default()).err();
        keys.iter().filter_map(check).map(|error| error.to_string()).collect()
    }

    /// Writes the file, all of it or nothing, for its owner alone.
    pub(crate) fn write(&self) -> Result<(), Error> {
        let failed = |error| Error::new(format!("{} cannot be written: {error}", self.path.display()));
        let fresh = self.path.with_extension(format!("toml.{}", std::process::id()));
        let written = || {
            let mut file =
                OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&fresh)?;
            file.write_all(self.table.to_string().as_bytes())?;
            file.sync_all()?;
            std::fs::rename(&fresh, &self.path)
        };
        written().map_err(|error: std::io::Error| {
            // It may not even have been made.
            let _ = std::fs::remove_file(&fresh);
            failed(error)
        })
    }
}

fn collect(table: &Table, before: &str, keys: &mut Vec<String>) {
    for (name, value) in table {
        match value {
            Value::Table(below) => collect(below, &format!("{before}{name}."), keys),
            _ => keys.push(format!("{before}{name}")),
        }
    }
}

/// The value as the file keeps it.
fn checked(key: &str, value: &str) -> Result<Value, Error> {
    let refuse = |allowed: &str| {
        Err(Error::new(format!("{key} cannot be '{value}'")).hint(format!("Allowed is {allowed}.")))
    };
    let known = || KEYS.iter().map(|(key, _)| *key).chain(OTHERS);
    let Some((section, name)) = key.split_once('.').filter(|(_, name)| !name.is_empty()) else {
        return Err(unknown(key, known()));
    };
    if matches!(section, "core" | "cluster") && !known().any(|known| known == key) || name.ends_with('.') {
        return Err(unknown(key, known()));
    }
    match key {
        "core.timeout" => match value.parse::<i64>() {
            Ok(seconds) if seconds >= 1 => Ok(Value::Integer(seconds)),
            // dcos-cli: `cluster setup --no-timeout`.
            Ok(0) => Ok(Value::Integer(0)),
            _ => refuse("a number of seconds, 1 or more"),
        },
        "core.ssl_verify" => match boolean(value) {
            Some(verify) => Ok(Value::String(verify.to_string())),
            None if Path::new(value).is_file() => Ok(Value::String(value.to_owned())),
            None => refuse("true, false, or the path of a file with certificates"),
        },
        "core.dcos_url" => match value.starts_with("http://") || value.starts_with("https://") {
            true => Ok(Value::String(value.to_owned())),
            false => refuse("a URL that starts with http:// or https://"),
        },
        key if BOOLEANS.contains(&key) => match boolean(value) {
            Some(value) => Ok(Value::Boolean(value)),
            None => refuse("true or false"),
        },
        _ => Ok(Value::String(value.to_owned())),
    }
}

fn boolean(text: &str) -> Option<bool> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "1" | "t" => Some(true),
        "false" | "0" | "f" => Some(false),
        _ => None,
    }
}

/// There is no such property.
pub(crate) fn unknown<'a>(key: &str, known: impl Iterator<Item = &'a str>) -> Error {
    let error = Error::new(format!("unknown key \"{key}\""));
    match nearest(key, known) {
        Some(meant) => error.hint(format!("Did you mean {meant}?")),
        None => error.hint("`dcos config keys` lists those that can be set."),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn none(_: &str) -> Option<String> {
        None
    }

    #[test]
    fn what_is_set_is_kept_for_its_owner_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("dcos.toml");
        assert!(Settings::read(&path).unwrap().is_none());
        let mut settings = Settings::new(path.clone());
        settings.set("core.dcos_url", "http://127.0.0.1").unwrap();
        settings.set("core.dcos_acs_token", "abc").unwrap();
        settings.set("core.timeout", "5").unwrap();
        settings.set("core.pagination", "True").unwrap();
        settings.set("marathon.url", "http://x").unwrap();
        settings.write().unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.contains("[core]\n") && text.contains("timeout = 5\n"), "{text}");
        let mut settings = Settings::read(&path).unwrap().unwrap();
        let check = |settings: &Settings, key: &str, expected: Option<&str>| {
            assert_eq!(settings.get(key, none).as_deref(), expected, "{key}");
        };
        check(&settings, "core.timeout", Some("5"));
        check(&settings, "core.pagination", Some("true"));
        check(&settings, "core", None);
        assert_eq!(settings.get("core.timeout", |_| Some("9".into())).as_deref(), Some("9"));
        settings.set("core.dcos_url", "http://127.0.0.1").unwrap();
        check(&settings, "core.dcos_acs_token", Some("abc"));
        settings.set("core.dcos_url", "http://127.0.0.2").unwrap();
        check(&settings, "core.dcos_acs_token", None);
        assert!(settings.unset("core.timeout") && !settings.unset("core.timeout"));
        let keys = ["core.dcos_url", "core.pagination", "marathon.url"];
        assert_eq!(settings.keys(none), keys);
    }

    #[test]
    fn what_cannot_be_is_refused() {
        let check = |key: &str, value: &str, expected: &str| {
            let error = Settings::default().set(key, value).unwrap_err();
            assert_eq!(error.to_string(), expected);
        };
        check(
            "core.timeout",
            "soon",
            "core.timeout cannot be 'soon'\nAllowed is a number of seconds, 1 or more.",
        );
        check("core.tiemout", "5", "unknown key \"core.tiemout\"\nDid you mean core.timeout?");
        check("x", "5", "unknown key \"x\"\n`dcos config keys` lists those that can be set.");
        check(
            "core.ssl_verify",
            "/no/file",
            "core.ssl_verify cannot be '/no/file'\nAllowed is true, false, or the path of a file with certificates.",
        );
        check("core.reporting", "maybe", "core.reporting cannot be 'maybe'\nAllowed is true or false.");
    }
}
