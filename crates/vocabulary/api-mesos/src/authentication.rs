//! Who sends a request: credentials as in Mesos' `--credentials`, shown by HTTP's basic authentication.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use base::{Auth, same_secret};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use mesos_proto::{json, v1};

/// The most that a file of credentials may hold.
const LONGEST_FILE: usize = 1 << 20;

/// A principal with its secret: what somebody shows who wants to be known. Mesos: `Credential`.
#[derive(Clone, PartialEq, Eq)]
pub struct Credential {
    /// Who it is.
    pub principal: String,
    /// What proves it.
    pub secret: String,
}

/// The secrets of all principals. Mesos: `Credentials`.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Credentials {
    secrets: BTreeMap<String, String>,
}

/// Why a file of credentials is none. What it holds is not told: it may be a secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CredentialsError {
    /// It is empty.
    #[error("it holds no credential, allowed is at least one")]
    Empty,
    /// It is too long.
    #[error("it has {found} bytes, allowed are {LONGEST_FILE}")]
    TooLong {
        /// Its bytes.
        found: usize,
    },
    /// It is neither JSON nor lines.
    #[error(
        "line {line} is no credential, allowed are lines 'principal secret' or JSON: \
         {{\"credentials\": [{{\"principal\": \"..\", \"secret\": \"..\"}}]}}"
    )]
    Form {
        /// Where, counted from 1.
        line: usize,
    },
    /// A principal that no request can show.
    #[error(
        "credential {number} has a principal or a secret that is empty or holds ':' or a control character"
    )]
    Unusable {
        /// Which, counted from 1.
        number: usize,
    },
}

impl Credential {
    /// Reads the file of one who has a single credential: JSON `{"principal": "..", "secret": ".."}`, or
    /// `principal secret`. Mesos: credentials::readCredential.
    ///
    /// # Errors
    /// See [`CredentialsError`].
    pub fn parse(text: &str) -> Result<Credential, CredentialsError> {
        check_length(text)?;
        let credential = match text.trim_start().starts_with('{') {
            true => {
                let read: v1::Credential = json::from_json(text.as_bytes()).map_err(at_line(text))?;
                Credential { principal: read.principal, secret: read.secret.unwrap_or_default() }
            }
            false => of_lines(text)?.into_iter().next().ok_or(CredentialsError::Empty)?,
        };
        credential.usable(1)
    }

    /// A principal with its secret.
    ///
    /// # Errors
    /// When no request could show them.
    pub fn new(principal: String, secret: String) -> Result<Credential, CredentialsError> {
        Credential { principal, secret }.usable(1)
    }

    /// What it says in `Authorization`.
    pub fn authorization(&self) -> String {
        format!("Basic {}", STANDARD.encode(format!("{}:{}", self.principal, self.secret)))
    }

    fn usable(self, number: usize) -> Result<Credential, CredentialsError> {
        let is_text = |text: &str| !text.is_empty() && !text.contains(|c: char| c == ':' || c.is_control());
        match is_text(&self.principal) && is_text(&self.secret) {
            true => Ok(self),
            false => Err(CredentialsError::Unusable { number }),
        }
    }
}

impl Credentials {
    /// Reads the file: JSON `{"credentials": [{"principal": "..", "secret": ".."}]}`, or a line
    /// `principal secret` each. Of a principal that comes twice the last secret counts.
    /// Mesos: credentials::read.
    ///
    /// # Errors
    /// See [`CredentialsError`].
    pub fn parse(text: &str) -> Result<Credentials, CredentialsError> {
        check_length(text)?;
        let found = match text.trim_start().starts_with('{') {
            true => {
                let read: v1::Credentials = json::from_json(text.as_bytes()).map_err(at_line(text))?;
                let credential = |read: v1::Credential| Credential {
                    principal: read.principal,
                    secret: read.secret.unwrap_or_default(),
                };
                read.credentials.into_iter().map(credential).collect()
            }
            false => of_lines(text)?,
        };
        let mut secrets = BTreeMap::new();
        for (at, credential) in found.into_iter().enumerate() {
            let Credential { principal, secret } = credential.usable(at + 1)?;
            secrets.insert(principal, secret);
        }
        match secrets.is_empty() {
            true => Err(CredentialsError::Empty),
            false => Ok(Credentials { secrets }),
        }
    }

    /// The principal that a header `Authorization: Basic ..` proves. Mesos: BasicAuthenticatorProcess.
    pub fn principal(&self, authorization: &str) -> Option<&str> {
        let shown = STANDARD.decode(authorization.strip_prefix("Basic ")?).ok()?;
        let (principal, secret) = std::str::from_utf8(&shown).ok()?.split_once(':')?;
        let (known, expected) = self.secrets.get_key_value(principal)?;
        same_secret(secret.as_bytes(), expected.as_bytes()).then_some(known)
    }
}

// Secrets must not end up in a log line that prints a configuration.
impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Credential({})", self.principal)
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Credentials({})", self.secrets.len())
    }
}

fn check_length(text: &str) -> Result<(), CredentialsError> {
    match text.len() {
        0 => Err(CredentialsError::Empty),
        found if found > LONGEST_FILE => Err(CredentialsError::TooLong { found }),
        _ => Ok(()),
    }
}

/// JSON that is none is told by its last line: the parser's words may hold what is in it.
fn at_line<E>(text: &str) -> impl Fn(E) -> CredentialsError {
    move |_| CredentialsError::Form { line: text.lines().count() }
}

/// The form that Mesos took before JSON.
fn of_lines(text: &str) -> Result<Vec<Credential>, CredentialsError> {
    let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    let credential = |(at, line): (usize, &str)| {
        let mut words = line.split_whitespace().map(str::to_owned);
        match (words.next(), words.next(), words.next()) {
            (Some(principal), Some(secret), None) => Ok(Credential { principal, secret }),
            _ => Err(CredentialsError::Form { line: at + 1 }),
        }
    };
    lines.map(credential).collect()
}

/// Who has to prove who they are, and how: principals by their secrets, components of the cluster by its
/// token, which opens every realm.
#[derive(Clone, Debug, Default)]
pub struct Authentication {
    token: Auth,
    credentials: Option<Credentials>,
    realms: BTreeSet<&'static str>,
}

/// A realm asks for credentials, and there are none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("No credentials provided for the default 'basic' HTTP authenticator for realm '{0}'")]
pub struct NoCredentials(pub &'static str);

/// What a refused request should have shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unproved {
    /// Credentials for this realm.
    Basic(&'static str),
    /// The cluster's token.
    Token,
}

impl Authentication {
    /// Whoever asks in one of `realms` has to show credentials or the token, if there is one; with a token
    /// whoever asks elsewhere has to show either as well.
    ///
    /// # Errors
    /// When a realm asks for credentials and there are none.
    pub fn new(
        token: Auth,
        credentials: Option<Credentials>,
        realms: impl IntoIterator<Item = &'static str>,
    ) -> Result<Authentication, NoCredentials> {
        let realms: BTreeSet<_> = realms.into_iter().collect();
        match (realms.first(), &credentials) {
            (Some(realm), None) => Err(NoCredentials(realm)),
            _ => Ok(Authentication { token, credentials, realms }),
        }
    }

    /// Who sends a request with these headers to an endpoint of `realm`. Nobody in particular is whoever
    /// showed the token, and whoever asks where nobody has to say who they are.
    ///
    /// # Errors
    /// What the request should have shown.
    pub fn principal(
        &self,
        realm: Option<&'static str>,
        authorization: Option<&str>,
        cookie: Option<&str>,
    ) -> Result<Option<String>, Unproved> {
        let realm = realm.filter(|realm| self.realms.contains(realm));
        if self.token.is_on() && self.token.allows(authorization, cookie) {
            return Ok(None);
        }
        let proved = self.credentials.as_ref().zip(authorization).and_then(|(known, it)| known.principal(it));
        match (realm, proved) {
            (Some(_), Some(principal)) => Ok(Some(principal.to_owned())),
            (Some(realm), None) => Err(Unproved::Basic(realm)),
            (None, None) if self.token.is_on() => Err(Unproved::Token),
            (None, _) => Ok(None),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = r#"{"credentials": [{"principal": "admin", "secret": "s3cret"}, {"principal": "ops", "secret": "b"}]}"#;

    #[test]
    fn mm46_files_hold_json_or_lines() {
        let check = |text: &str, expect: Result<usize, CredentialsError>| {
            assert_eq!(Credentials::parse(text).map(|found| found.secrets.len()), expect, "{text}");
        };
        check(FILE, Ok(2));
        check("admin s3cret\n\n ops\tb\n", Ok(2));
        check("", Err(CredentialsError::Empty));
        check("\n", Err(CredentialsError::Empty));
        check("{}", Err(CredentialsError::Empty));
        check("admin s3cret\nops", Err(CredentialsError::Form { line: 2 }));
        check("{\n\"credentials\": s3cret}", Err(CredentialsError::Form { line: 2 }));
        check("admin a:b", Err(CredentialsError::Unusable { number: 1 }));
        check(
            r#"{"credentials": [{"principal": "a", "secret": "b"}, {"principal": "c"}]}"#,
            Err(CredentialsError::Unusable { number: 2 }),
        );
        let one = Credential { principal: "admin".into(), secret: "s3cret".into() };
        for text in ["admin s3cret", r#"{"principal": "admin", "secret": "s3cret"}"#] {
            assert_eq!(Credential::parse(text), Ok(one.clone()), "{text}");
        }
        assert_eq!(one.authorization(), "Basic YWRtaW46czNjcmV0");
        let shown =
            format!("{one:?} {:?} {}", Credentials::parse(FILE).unwrap(), CredentialsError::Form { line: 1 });
        assert!(!shown.contains("s3cret"), "{shown}");
    }

    #[test]
    fn mm46_only_the_secret_proves_a_principal() {
        let credentials = Credentials::parse(FILE).unwrap();
        let check = |authorization: &str, expect: Option<&str>| {
            assert_eq!(credentials.principal(authorization), expect, "{authorization}");
        };
        check("Basic YWRtaW46czNjcmV0", Some("admin"));
        check("Basic YWRtaW46bm9wZQ==", None);
        check("basic YWRtaW46czNjcmV0", None);
        check("Basic  YWRtaW46czNjcmV0", None);
        check("Basic YWRtaW46czNjcmV0 x", None);
        check("Basic YWRtaW4=", None);
        check("Basic", None);
        check("Basic /////w==", None);
        // Two colons, as Mesos.
        check("Basic YWRtaW46czNjcmV0Og==", None);
    }

    #[test]
    fn mm46_who_has_to_prove_what() {
        const BASIC: Option<&str> = Some("Basic YWRtaW46czNjcmV0");
        const TOKEN: Option<&str> = Some("token=t");
        let of = |token: Option<&str>| {
            let credentials = Credentials::parse(FILE).unwrap();
            Authentication::new(Auth::new(token.map(str::to_owned)), Some(credentials), ["asked"]).unwrap()
        };
        let check = |token, realm, shown, expect: Result<Option<&str>, Unproved>| {
            let found = of(token).principal(realm, shown, None);
            assert_eq!(found, expect.map(|it| it.map(str::to_owned)), "{token:?} {realm:?} {shown:?}");
        };
        check(None, Some("asked"), BASIC, Ok(Some("admin")));
        check(None, Some("asked"), None, Err(Unproved::Basic("asked")));
        check(None, Some("asked"), TOKEN, Err(Unproved::Basic("asked")));
        check(None, Some("other"), None, Ok(None));
        check(None, Some("other"), BASIC, Ok(None));
        check(None, None, None, Ok(None));
        check(Some("t"), Some("asked"), TOKEN, Ok(None));
        check(Some("t"), Some("asked"), BASIC, Ok(Some("admin")));
        check(Some("t"), Some("asked"), None, Err(Unproved::Basic("asked")));
        check(Some("t"), Some("other"), None, Err(Unproved::Token));
        check(Some("t"), Some("other"), BASIC, Ok(None));
        check(Some("t"), None, TOKEN, Ok(None));
        let none = Authentication::new(Auth::default(), None, ["asked"]).unwrap_err();
        assert_eq!(none, NoCredentials("asked"));
        let open = Authentication::new(Auth::default(), None, []).unwrap();
        assert_eq!(open.principal(Some("asked"), None, None), Ok(None));
    }
}
