use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

/// Why a `pkginfo.json` cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PkgInfoProblem {
    /// Not JSON.
    #[error("pkginfo.json is not JSON: {0}")]
    Syntax(String),
    /// A field of another kind than allowed.
    #[error("pkginfo.json: {field} is {found}, allowed is {allowed}")]
    Field {
        /// Which field, with its path.
        field: String,
        /// What was found there.
        found: String,
        /// What is allowed there.
        allowed: &'static str,
    },
}

/// A package that another one needs.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Requirement {
    /// The package's name as it was written: whether it is one is checked with all other rules.
    pub name: String,
    /// The variant it has to be of; `None` is the default variant, which is not written.
    pub variant: Option<String>,
}

/// What a package says about itself: `pkginfo.json`. Every field may be absent; unknown ones are ignored.
///
/// Only the kinds of the fields are checked on reading; the rules of names, users and reserved words are those of
/// the set that the package is activated in.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PkgInfo {
    /// Variables of every service on the host.
    pub environment: BTreeMap<String, String>,
    /// Packages that have to be active with this one, as written.
    pub requires: Vec<Requirement>,
    /// Whether the package has a directory `/var/lib/dcos/NAME`.
    pub state_directory: bool,
    /// The user of its services.
    pub username: Option<String>,
    /// A group that the user must be in.
    pub group: Option<String>,
    /// Kernel settings by service: texts or numbers.
    pub sysctl: BTreeMap<String, BTreeMap<String, Value>>,
    /// The variant it was built as.
    pub variant: Option<String>,
}

impl PkgInfo {
    /// Reads the text of a `pkginfo.json`.
    pub fn parse(text: &str) -> Result<Self, PkgInfoProblem> {
        Self::from_json(
            &serde_json::from_str(text).map_err(|error| PkgInfoProblem::Syntax(error.to_string()))?,
        )
    }

    /// Reads what a `pkginfo.json` holds.
    pub fn from_json(value: &Value) -> Result<Self, PkgInfoProblem> {
        let fields = object("the file", value)?;
        let mut info = Self::default();
        for (name, value) in fields {
            match name.as_str() {
                "environment" => info.environment = environment(value)?,
                "requires" => info.requires = requires(value)?,
                "state_directory" => {
                    info.state_directory =
                        value.as_bool().ok_or_else(|| wrong(name, value, "true or false"))?
                }
                "username" => info.username = optional_text(name, value)?,
                "group" => info.group = optional_text(name, value)?,
                "variant" => info.variant = optional_text(name, value)?,
                "sysctl" => info.sysctl = sysctl(value)?,
                _ => {}
            }
        }
        Ok(info)
    }

    /// What is written to `pkginfo.json`: the first three fields always, the others if given.
    pub fn to_json(&self) -> Value {
        let requires: Vec<Value> = self.requires.iter().map(Requirement::to_json).collect();
        let mut fields = Map::new();
        fields.insert("environment".to_owned(), json!(self.environment));
        fields.insert("requires".to_owned(), Value::Array(requires));
        fields.insert("state_directory".to_owned(), json!(self.state_directory));
        for (name, value) in
            [("username", &self.username), ("group", &self.group), ("variant", &self.variant)]
        {
            if let Some(value) = value {
                fields.insert(name.to_owned(), json!(value));
            }
        }
        if !self.sysctl.is_empty() {
            fields.insert("sysctl".to_owned(), json!(self.sysctl));
        }
        Value::Object(fields)
    }
}

impl Requirement {
    /// Reads one entry of `requires`: a name, or an object of exactly `name` and `variant`. `field` is its path for errors.
    pub fn from_json(field: &str, value: &Value) -> Result<Self, PkgInfoProblem> {
        const ALLOWED: &str = "a package's name, or an object of exactly name and variant";
        match value {
            Value::String(name) => Ok(Self { name: name.clone(), variant: None }),
            Value::Object(fields) if fields.len() == 2 => match (fields.get("name"), fields.get("variant")) {
                (Some(Value::String(name)), Some(variant @ (Value::String(_) | Value::Null))) => {
                    let variant = variant.as_str().filter(|variant| !variant.is_empty()).map(str::to_owned);
                    Ok(Self { name: name.clone(), variant })
                }
                _ => Err(wrong(field, value, ALLOWED)),
            },
            _ => Err(wrong(field, value, ALLOWED)),
        }
    }

    /// A name alone, or an object of `name` and `variant`.
    pub fn to_json(&self) -> Value {
        match &self.variant {
            None => json!(self.name),
            Some(variant) => json!({"name": self.name, "variant": variant}),
        }
    }
}

fn requires(value: &Value) -> Result<Vec<Requirement>, PkgInfoProblem> {
    let items = value.as_array().ok_or_else(|| wrong("requires", value, "a list"))?;
    items
        .iter()
        .enumerate()
        .map(|(index, item)| Requirement::from_json(&format!("requires[{index}]"), item))
        .collect()
}

fn environment(value: &Value) -> Result<BTreeMap<String, String>, PkgInfoProblem> {
    let mut environment = BTreeMap::new();
    for (name, value) in object("environment", value)? {
        let field = format!("environment.{name}");
        if !is_variable(name) {
            return Err(wrong(
                "environment",
                &json!(name),
                "names of letters, digits and _ (no digit first)",
            ));
        }
        let text = match value {
            Value::String(text) => text.clone(),
            Value::Number(number) => number.to_string(),
            _ => return Err(wrong(&field, value, "a text")),
        };
        // Its line in the file of all variables ends where the value does.
        if text.contains(['\n', '\r', '\0']) {
            return Err(wrong(&field, value, "a text of one line"));
        }
        if !ends_with_its_line(&text) {
            return Err(wrong(&field, value, "a text with all quotes closed and no \\ at its end"));
        }
        environment.insert(name.clone(), text);
    }
    Ok(environment)
}

/// Whether shells take this for the name of a variable.
fn is_variable(name: &str) -> bool {
    !name.starts_with(|c: char| c.is_ascii_digit())
        && !name.is_empty()
        && name.bytes().all(|c| c.is_ascii_alphanumeric() || c == b'_')
}

/// Whether a shell that reads `NAME=text` is done with it where the line ends. Values stand in the file as they
/// are: with an open quote, or a `\` at the end, the next lines would be part of it.
fn ends_with_its_line(text: &str) -> bool {
    let mut quote = None;
    let mut characters = text.chars();
    while let Some(c) = characters.next() {
        match (quote, c) {
            (None | Some('"'), '\\') => {
                let Some(_) = characters.next() else { return false };
            }
            (None, '"' | '\'') => quote = Some(c),
            (Some(open), c) if open == c => quote = None,
            _ => {}
        }
    }
    quote.is_none()
}

fn sysctl(value: &Value) -> Result<BTreeMap<String, BTreeMap<String, Value>>, PkgInfoProblem> {
    let mut services = BTreeMap::new();
    for (service, value) in object("sysctl", value)? {
        let field = format!("sysctl.{service}");
        let mut settings = BTreeMap::new();
        for (key, value) in object(&field, value)? {
            if !(value.is_string() || value.is_number() || value.is_boolean()) {
                return Err(wrong(&format!("{field}.{key}"), value, "a text or a number"));
            }
            settings.insert(key.clone(), value.clone());
        }
        services.insert(service.clone(), settings);
    }
    Ok(services)
}

fn optional_text(field: &str, value: &Value) -> Result<Option<String>, PkgInfoProblem> {
    match value {
        Value::Null => Ok(None),
        Value::String(text) => Ok(Some(text.clone())),
        _ => Err(wrong(field, value, "a text")),
    }
}

fn object<'a>(field: &str, value: &'a Value) -> Result<&'a Map<String, Value>, PkgInfoProblem> {
    value.as_object().ok_or_else(|| wrong(field, value, "an object"))
}

fn wrong(field: &str, value: &Value, allowed: &'static str) -> PkgInfoProblem {
    let mut found: String = value.to_string().chars().take(200).collect();
    if value.is_null() {
        found = "null".to_owned();
    }
    PkgInfoProblem::Field { field: field.to_owned(), found, allowed }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json;

    #[test]
    fn everything_there_is() {
        let text = r#"{"environment":{"A":"1","N":5},"requires":["java",{"name":"mesos","variant":"ssl"},{"name":"x","variant":null}],
            "state_directory":true,"username":"dcos_a","group":"g","sysctl":{"dcos-a":{"vm.x":"1","y":2}},"variant":"v","later":[]}"#;
        let info = PkgInfo::parse(text).unwrap();
        assert_eq!(info.environment["N"], "5");
        assert_eq!(info.requires[0], Requirement { name: "java".to_owned(), variant: None });
        assert_eq!(
            info.requires[1],
            Requirement { name: "mesos".to_owned(), variant: Some("ssl".to_owned()) }
        );
        assert_eq!(info.requires[2], Requirement { name: "x".to_owned(), variant: None });
        assert_eq!(PkgInfo::parse(&json::pretty(&info.to_json())).unwrap(), info);
    }

    #[test]
    fn an_empty_one() {
        let info = PkgInfo::parse("{}").unwrap();
        assert_eq!(info, PkgInfo::default());
        assert_eq!(
            json::pretty(&info.to_json()),
            "{\n  \"environment\":{},\n  \"requires\":[],\n  \"state_directory\":false\n}"
        );
    }

    #[test]
    fn values_that_end_with_their_lines() {
        for (text, expected) in [
            ("", true),
            ("-Xmx1g -Da='b c' -De=\"f g\"", true),
            ("\"it's\" '\"'", true),
            (r"it\'s", true),
            (r"'\'", true),
            (r#""\"""#, true),
            (r"a\\", true),
            (r"a\", false),
            ("it's", false),
            (r#""a"#, false),
            (r#""a\""#, false),
            (r"'a\'b'", false),
        ] {
            assert_eq!(ends_with_its_line(text), expected, "{text}");
        }
    }

    #[test]
    fn variables_have_names_that_shells_take() {
        for (name, expected) in [
            ("A", true),
            ("_a1", true),
            ("", false),
            ("1A", false),
            ("A-B", false),
            ("A;B", false),
            ("ä", false),
        ] {
            assert_eq!(is_variable(name), expected, "{name}");
        }
    }

    #[test]
    fn bad_ones() {
        for (text, expected) in [
            ("", "pkginfo.json is not JSON: EOF while parsing a value at line 1 column 0"),
            ("[]", "pkginfo.json: the file is [], allowed is an object"),
            (r#"{"environment":[]}"#, "pkginfo.json: environment is [], allowed is an object"),
            (r#"{"environment":{"A":null}}"#, "pkginfo.json: environment.A is null, allowed is a text"),
            (
                r#"{"environment":{"A":"x\ny"}}"#,
                r#"pkginfo.json: environment.A is "x\ny", allowed is a text of one line"#,
            ),
            (
                r#"{"environment":{"A=B":"x"}}"#,
                r#"pkginfo.json: environment is "A=B", allowed is names of letters, digits and _ (no digit first)"#,
            ),
            (
                r#"{"environment":{"A":"it's"}}"#,
                r#"pkginfo.json: environment.A is "it's", allowed is a text with all quotes closed and no \ at its end"#,
            ),
            (r#"{"requires":"a"}"#, r#"pkginfo.json: requires is "a", allowed is a list"#),
            (
                r#"{"requires":["b",{"name":"a"}]}"#,
                r#"pkginfo.json: requires[1] is {"name":"a"}, allowed is a package's name, or an object of exactly name and variant"#,
            ),
            (
                r#"{"state_directory":"yes"}"#,
                r#"pkginfo.json: state_directory is "yes", allowed is true or false"#,
            ),
            (r#"{"username":1}"#, "pkginfo.json: username is 1, allowed is a text"),
            (r#"{"sysctl":{"a":{"b":[]}}}"#, "pkginfo.json: sysctl.a.b is [], allowed is a text or a number"),
        ] {
            assert_eq!(PkgInfo::parse(text).unwrap_err().to_string(), expected, "{text}");
        }
    }
}
