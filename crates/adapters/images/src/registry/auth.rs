//! Convincing registries: basic authentication and tokens of a token server.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http_kit::{Bytes, HeaderValue, Method, StatusCode, header};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;
use web_client::{Call, Url};

use super::{Failure, Registry};
use crate::docker_config::Login;
use crate::{Named, PullError};

/// Bytes of a token server's answer.
const TOKEN_BYTES: usize = 1 << 20;
/// Tokens that are kept.
const TOKENS: usize = 128;
/// How long a token is good when its server does not say (the specification's word).
const DEFAULT_SECONDS: u64 = 60;
/// A token is not used in its last moments.
const MARGIN: Duration = Duration::from_secs(5);

type Key = (String, String, Option<Login>);

/// Tokens by registry, repository and login.
#[derive(Default)]
pub(crate) struct Tokens(Mutex<BTreeMap<Key, Token>>);

/// What a token server gave.
#[derive(Clone)]
pub(super) struct Token {
    pub(super) authorization: HeaderValue,
    until: Instant,
}

impl Tokens {
    pub(super) fn get(&self, named: &Named, login: Option<&Login>) -> Option<HeaderValue> {
        let tokens = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let token = tokens.get(&key(named, login))?;
        (token.until > Instant::now()).then(|| token.authorization.clone())
    }

    pub(super) fn put(&self, named: &Named, login: Option<&Login>, token: &Token) {
        let mut tokens = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        tokens.retain(|_, token| token.until > now);
        if tokens.len() >= TOKENS {
            tokens.clear();
        }
        tokens.insert(key(named, login), token.clone());
    }
}

fn key(named: &Named, login: Option<&Login>) -> Key {
    (named.registry.clone(), named.repository.clone(), login.cloned())
}

pub(super) fn basic(user: &str, password: &str) -> HeaderValue {
    secret(&format!("Basic {}", STANDARD.encode(format!("{user}:{password}"))))
        .expect("base64 is writable in a header")
}

fn secret(text: &str) -> Option<HeaderValue> {
    let mut value = HeaderValue::from_str(text).ok()?;
    value.set_sensitive(true);
    Some(value)
}

/// Asks the token server that the registry named.
pub(super) async fn token(
    registry: &Registry,
    scheme: &str,
    realm: &str,
    service: Option<&str>,
    scope: &str,
) -> Result<Token, Failure> {
    let bad = |reason: String| {
        let registry = registry.host().to_owned();
        Failure::Final(PullError::Credentials { registry, reason })
    };
    let url = |query: &str| {
        let joint = if query.is_empty() {
            ""
        } else if realm.contains('?') {
            "&"
        } else {
            "?"
        };
        let url = format!("{realm}{joint}{query}").parse::<Url>();
        url.map_err(|error| bad(format!("its token server is no address: {error}")))
    };
    let mut form = format!("scope={}", encode(scope));
    if let Some(service) = service {
        form.push_str(&format!("&service={}", encode(service)));
    }
    let call = match &registry.login {
        Some(Login::Identity(token)) => {
            let kind = HeaderValue::from_static("application/x-www-form-urlencoded");
            let body =
                format!("grant_type=refresh_token&client_id=dcos&refresh_token={}&{form}", encode(token));
            let mut call = Call::get(url("")?).with_header(header::CONTENT_TYPE, kind);
            (call.method, call.body) = (Method::POST, Bytes::from(body));
            call
        }
        Some(Login::Basic { user, password }) => {
            Call::get(url(&form)?).with_header(header::AUTHORIZATION, basic(user, password))
        }
        None => Call::get(url(&form)?),
    };
    if !call.url.is_https() && scheme == "https" {
        return Err(bad(format!("its token server {realm:?} is without TLS, which the registry has")));
    }
    let what = "a token";
    let answer = registry.web.send(call).await.map_err(|error| registry.failed(what, error))?;
    match answer.status {
        StatusCode::OK => {}
        // Some answer 400 to a refresh token that has run out.
        status @ (StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN | StatusCode::BAD_REQUEST) => {
            return Err(Failure::Final(registry.denied(match status {
                StatusCode::BAD_REQUEST => StatusCode::UNAUTHORIZED,
                status => status,
            })));
        }
        _ => return Err(registry.unsuccessful(what, answer).await),
    }
    let body = answer.body.read(TOKEN_BYTES).await.map_err(|error| registry.failed(what, error))?;
    given(&body).ok_or_else(|| bad("its token server answers without a token".to_owned()))
}

/// Reads a token server's answer.
fn given(body: &[u8]) -> Option<Token> {
    #[derive(Deserialize)]
    struct Answer {
        token: Option<String>,
        access_token: Option<String>,
        expires_in: Option<u64>,
    }
    let answer: Answer = serde_json::from_slice(body).ok()?;
    let token = answer.token.or(answer.access_token).filter(|token| !token.is_empty())?;
    let seconds = answer.expires_in.filter(|seconds| *seconds > 0).unwrap_or(DEFAULT_SECONDS).min(86_400);
    let life = Duration::from_secs(seconds).saturating_sub(MARGIN);
    Some(Token { authorization: secret(&format!("Bearer {token}"))?, until: Instant::now() + life })
}

fn encode(text: &str) -> impl std::fmt::Display + '_ {
    utf8_percent_encode(text, NON_ALPHANUMERIC)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn token_answers_have_either_name() {
        let check = |body: &str, expected: Option<&str>| {
            let token = given(body.as_bytes()).map(|token| token.authorization.to_str().unwrap().to_owned());
            assert_eq!(token.as_deref(), expected, "{body}");
        };
        check(r#"{"token": "a", "expires_in": 300}"#, Some("Bearer a"));
        check(r#"{"access_token": "b", "expires_in": 0}"#, Some("Bearer b"));
        check(r#"{"token": ""}"#, None);
        check(r#"{"token": "a\nb"}"#, None);
        check("", None);
    }

    #[test]
    fn tokens_are_of_one_repository_and_login_and_are_forgotten() {
        let tokens = Tokens::default();
        let named = |repository: &str| Named {
            registry: "r".into(),
            repository: repository.into(),
            tag: None,
            digest: None,
        };
        let login = Login::Identity("x".into());
        let long = given(br#"{"token": "a", "expires_in": 300}"#).unwrap();
        tokens.put(&named("a"), Some(&login), &long);
        assert!(tokens.get(&named("a"), Some(&login)).is_some());
        assert!(tokens.get(&named("a"), None).is_none());
        assert!(tokens.get(&named("b"), Some(&login)).is_none());
        let short = given(br#"{"token": "a", "expires_in": 5}"#).unwrap();
        tokens.put(&named("b"), None, &short);
        assert!(tokens.get(&named("b"), None).is_none());
    }
}
