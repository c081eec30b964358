//! Who may pass: whoever shows the cluster's token.

use std::fmt;

/// The cookies that carry DC/OS credentials. Services never see them.
pub const COOKIES: [&str; 2] = ["dcos-acs-auth-cookie", "dcos-acs-info-cookie"];

/// The cluster's token, if it has one: the check of a request's credentials.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Auth {
    token: Option<String>,
}

impl Auth {
    /// Without a token everybody passes.
    pub fn new(token: Option<String>) -> Self {
        Auth { token }
    }

    /// What a component of the cluster says in `Authorization` to another one.
    pub fn authorization(&self) -> Option<String> {
        self.token.as_ref().map(|token| format!("token={token}"))
    }

    /// Whether a token is asked for.
    pub fn is_on(&self) -> bool {
        self.token.is_some()
    }

    /// Whether a request with these headers may pass.
    ///
    /// The token comes as `Authorization: token=<t>`, as `Authorization: Bearer <t>`, or in the cookie
    /// `dcos-acs-auth-cookie`; with an `Authorization` header the cookie does not count.
    pub fn allows(&self, authorization: Option<&str>, cookie: Option<&str>) -> bool {
        let Some(token) = &self.token else { return true };
        let shown = match authorization {
            Some(authorization) => shown_token(authorization),
            None => cookie.and_then(cookie_token),
        };
        shown.is_some_and(|shown| same_secret(shown.as_bytes(), token.as_bytes()))
    }
}

// The token must not end up in a log line that prints a configuration.
impl fmt::Debug for Auth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Auth({})", if self.is_on() { "on" } else { "off" })
    }
}

fn shown_token(authorization: &str) -> Option<&str> {
    let bearer = |text: &'_ str| text.get(..7).is_some_and(|scheme| scheme.eq_ignore_ascii_case("Bearer "));
    match authorization.trim() {
        text if bearer(text) => Some(text[7..].trim()),
        text => text.strip_prefix("token=").map(str::trim),
    }
}

fn cookie_token(cookies: &str) -> Option<&str> {
    cookies.split(';').find_map(|cookie| cookie.trim().strip_prefix(COOKIES[0])?.strip_prefix('='))
}

/// Compares without telling by its time how much of a secret was right. Its length is no secret.
pub fn same_secret(left: &[u8], right: &[u8]) -> bool {
    let differing = left.iter().zip(right).fold(0, |found, (left, right)| found | (left ^ right));
    left.len() == right.len() && std::hint::black_box(differing) == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_token_opens() {
        let auth = Auth::new(Some("secret".into()));
        let check = |authorization: Option<&str>, cookie: Option<&str>, expect: bool| {
            assert_eq!(auth.allows(authorization, cookie), expect, "{authorization:?} {cookie:?}");
        };
        check(None, None, false);
        check(Some("token=secret"), None, true);
        check(Some("Bearer secret"), None, true);
        check(Some("bearer  secret"), None, true);
        check(Some("secret"), None, false);
        check(Some("token="), None, false);
        check(Some("token=secret2"), None, false);
        check(Some("token=secreT"), None, false);
        check(Some("Basic c2VjcmV0"), None, false);
        check(Some("é"), None, false);
        check(None, Some("a=b; dcos-acs-auth-cookie=secret; c=d"), true);
        check(None, Some("dcos-acs-auth-cookie2=secret"), false);
        check(None, Some("dcos-acs-auth-cookie"), false);
        // The header wins.
        check(Some("token=wrong"), Some("dcos-acs-auth-cookie=secret"), false);
        assert!(Auth::default().allows(None, None));
        assert_eq!(format!("{auth:?}"), "Auth(on)");
    }
}
