use std::collections::BTreeMap;
use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use serde::Deserialize;

/// Bytes of a docker configuration that are read.
pub(crate) const LIMIT: u64 = 1 << 20;

/// Docker's keeping of logins: `.docker/config.json`, or the older `.dockercfg`.
#[derive(Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct DockerConfig {
    /// By host, without scheme and path.
    logins: BTreeMap<String, Login>,
    /// Programs that would know a host's login.
    helpers: BTreeMap<String, String>,
    /// The program that would know all others.
    store: Option<String>,
}

/// How to log in to one registry.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Login {
    Basic {
        user: String,
        password: String,
    },
    /// An OAuth2 refresh token.
    Identity(String),
}

/// Why a docker configuration cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DockerConfigError {
    /// It is not the JSON that docker writes.
    #[error("not a docker configuration: {0}")]
    Json(String),
    /// An entry's `auth` is not the base64 of `user:password`.
    #[error("auths[{registry:?}].auth is not the base64 of user:password")]
    Auth {
        /// The entry.
        registry: String,
    },
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct File {
    #[serde(default)]
    auths: Option<BTreeMap<String, Entry>>,
    #[serde(default)]
    cred_helpers: Option<BTreeMap<String, String>>,
    #[serde(default)]
    creds_store: Option<String>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Entry {
    auth: Option<String>,
    username: Option<String>,
    password: Option<String>,
    identitytoken: Option<String>,
}

impl DockerConfig {
    /// Reads `.docker/config.json` or `.dockercfg`, which has the entries of `auths` at its top.
    ///
    /// # Errors
    /// Names the entry. What the file says beside logins is not looked at.
    pub fn parse(text: &[u8]) -> Result<DockerConfig, DockerConfigError> {
        // serde_json's errors name line and column but quote no secrets for mismatched types of maps.
        let file: File = serde_json::from_slice(text).map_err(|error| place(&error))?;
        let new_format = file.auths.is_some() || file.cred_helpers.is_some() || file.creds_store.is_some();
        let entries = match file.auths {
            Some(entries) => entries,
            None if new_format => BTreeMap::new(),
            None => old_format(text)?,
        };
        let mut logins = BTreeMap::new();
        for (registry, entry) in entries {
            if let Some(login) = entry.login(&registry)? {
                logins.insert(host(&registry), login);
            }
        }
        let helpers = file.cred_helpers.unwrap_or_default();
        Ok(DockerConfig {
            logins,
            helpers: helpers.into_iter().map(|(registry, helper)| (host(&registry), helper)).collect(),
            store: file.creds_store.filter(|store| !store.is_empty()),
        })
    }

    /// A configuration with one login.
    pub fn basic(registry: &str, user: &str, password: &str) -> DockerConfig {
        let login = Login::Basic { user: user.to_owned(), password: password.to_owned() };
        DockerConfig { logins: BTreeMap::from([(host(registry), login)]), ..DockerConfig::default() }
    }

    /// The login for a registry (`host[:port]`), if there is one; an error in words if only a helper
    /// program would know it.
    pub(crate) fn login(&self, registry: &str) -> Result<Option<&Login>, String> {
        let registry = host(registry);
        if let Some(login) = self.logins.get(&registry) {
            return Ok(Some(login));
        }
        let helper = self.helpers.get(&registry).or(self.store.as_ref());
        match helper {
            Some(helper) => Err(format!(
                "the docker configuration leaves them to the program docker-credential-{helper}, which is \
                 not run here; log in on a machine without credHelpers and credsStore, so that they stand in auths"
            )),
            None => Ok(None),
        }
    }
}

impl fmt::Debug for DockerConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hosts: Vec<&String> = self.logins.keys().collect();
        f.debug_struct("DockerConfig").field("logins", &hosts).finish_non_exhaustive()
    }
}

impl Entry {
    fn login(self, registry: &str) -> Result<Option<Login>, DockerConfigError> {
        if let Some(token) = self.identitytoken.filter(|token| !token.is_empty()) {
            return Ok(Some(Login::Identity(token)));
        }
        if let Some(auth) = self.auth.filter(|auth| !auth.is_empty()) {
            let wrong = || DockerConfigError::Auth { registry: registry.to_owned() };
            let bytes = STANDARD.decode(&auth).or_else(|_| STANDARD_NO_PAD.decode(&auth));
            let text = String::from_utf8(bytes.map_err(|_| wrong())?).map_err(|_| wrong())?;
            let (user, password) = text.split_once(':').ok_or_else(wrong)?;
            // Docker pads with NUL.
            let password = password.trim_end_matches('\0');
            return Ok(Some(Login::Basic { user: user.to_owned(), password: password.to_owned() }));
        }
        Ok(self.username.zip(self.password).map(|(user, password)| Login::Basic { user, password }))
    }
}

/// Before docker 1.7: what is now under `auths` was the whole file. Other keys are somebody else's.
fn old_format(text: &[u8]) -> Result<BTreeMap<String, Entry>, DockerConfigError> {
    let all: BTreeMap<String, serde_json::Value> =
        serde_json::from_slice(text).map_err(|error| place(&error))?;
    Ok(all
        .into_iter()
        .filter(|(_, entry)| entry.get("auth").is_some() || entry.get("identitytoken").is_some())
        .filter_map(|(registry, entry)| Some((registry, serde_json::from_value(entry).ok()?)))
        .collect())
}

/// Where the error is, without the words around it: they may be secrets.
fn place(error: &serde_json::Error) -> DockerConfigError {
    DockerConfigError::Json(format!("line {} column {}", error.line(), error.column()))
}

/// `https://index.docker.io/v1/` and `registry-1.docker.io` are docker.io; other registries are known
/// by their host.
fn host(registry: &str) -> String {
    let rest = registry.split_once("://").map_or(registry, |(_, rest)| rest);
    let host = rest.split('/').next().unwrap_or_default();
    match host {
        "index.docker.io" | "registry-1.docker.io" => "docker.io".to_owned(),
        host => host.to_ascii_lowercase(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a configuration says of a registry.
    fn check(config: &str, registry: &str, expected: Result<Option<(&str, &str)>, &str>) {
        let config = DockerConfig::parse(config.as_bytes()).unwrap();
        match (config.login(registry), expected) {
            (Ok(found), Ok(expected)) => {
                let found = found.map(|login| match login {
                    Login::Basic { user, password } => (user.as_str(), password.as_str()),
                    Login::Identity(token) => ("<token>", token.as_str()),
                });
                assert_eq!(found, expected);
            }
            (Err(found), Err(expected)) => assert!(found.contains(expected), "{found}"),
            (found, expected) => panic!("{found:?} instead of {expected:?}", found = found.is_ok()),
        }
    }

    #[test]
    fn logins_are_found_by_host() {
        // "me:secret"
        let auths = r#"{"auths": {"https://index.docker.io/v1/": {"auth": "bWU6c2VjcmV0"},
            "h:5000": {"auth": "bWU6c2VjcmV0AAA="}, "bare.x": {}, "plain.x": {"username": "u", "password": "p"},
            "token.x": {"auth": "", "identitytoken": "abc"}}, "credHelpers": {"helped.x": "ecr-login"}}"#;
        check(auths, "docker.io", Ok(Some(("me", "secret"))));
        check(auths, "h:5000", Ok(Some(("me", "secret"))));
        check(auths, "H:5000", Ok(Some(("me", "secret"))));
        check(auths, "h", Ok(None));
        check(auths, "bare.x", Ok(None));
        check(auths, "plain.x", Ok(Some(("u", "p"))));
        check(auths, "token.x", Ok(Some(("<token>", "abc"))));
        check(auths, "helped.x", Err("docker-credential-ecr-login"));
        check(r#"{"credsStore": "desktop"}"#, "a.x", Err("docker-credential-desktop"));
        check(r#"{"auths": null}"#, "a.x", Ok(None));
    }

    #[test]
    fn the_old_format_has_entries_at_its_top() {
        check(r#"{"h.x": {"auth": "bWU6c2VjcmV0", "email": ""}}"#, "h.x", Ok(Some(("me", "secret"))));
        check(r#"{"HttpHeaders": {"a": "b"}}"#, "h.x", Ok(None));
    }

    #[test]
    fn errors_name_the_entry_and_no_secret() {
        let refuse = |text: &str, words: &str| {
            let error = DockerConfig::parse(text.as_bytes()).unwrap_err().to_string();
            assert!(error.contains(words) && !error.contains("secret"), "{error}");
        };
        refuse("", "line 1");
        refuse(r#"{"auths": "secret"}"#, "line 1 column");
        refuse(r#"{"auths": {"h.x": {"auth": "*secret*"}}}"#, r#"auths["h.x"].auth"#);
        refuse(r#"{"auths": {"h.x": {"auth": "bm9jb2xvbg=="}}}"#, "user:password");
        assert!(!format!("{:?}", DockerConfig::basic("h", "u", "secret")).contains("secret"));
    }
}
