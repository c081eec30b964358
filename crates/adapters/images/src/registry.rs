//! A client of the registry API v2 (docker's distribution, OCI's distribution specification): just what
//! pulling needs.

mod auth;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http_kit::{HeaderValue, StatusCode, header};
use tokio::time::sleep;
use web_client::{Answer, Call, Url, WebClient};

use crate::challenge::{Challenge, challenges};
use crate::docker_config::Login;
use crate::manifest::{self, Descriptor, Document, Manifest, Refusal};
use crate::{Digest, Named, PullError};

pub(crate) use auth::Tokens;
use auth::{basic, token};

/// How often a document is asked for when the network or the server fails.
const ATTEMPTS: u32 = 4;
/// The pause before the second attempt; it doubles.
const PAUSE: Duration = Duration::from_millis(250);
/// The longest pause that a server may ask for.
const LONGEST_PAUSE: Duration = Duration::from_secs(10);
/// Indexes may lead to indexes.
const DEPTH: u32 = 4;
/// Bytes of an error's body that are looked at.
const ERROR_BYTES: usize = 16 << 10;
/// Registries whose scheme is remembered.
const SCHEMES: usize = 256;

/// What pulls know of registries in common.
#[derive(Default)]
pub(crate) struct Known {
    pub(crate) tokens: Tokens,
    /// Whether a registry that may be insecure speaks TLS.
    schemes: Mutex<BTreeMap<String, &'static str>>,
}

/// One image's registry, for one pull.
pub(crate) struct Registry {
    web: WebClient,
    named: Named,
    /// As users write it.
    image: String,
    login: Option<Login>,
    known: Arc<Known>,
    /// Schemes to try, best first.
    schemes: &'static [&'static str],
    authorization: tokio::sync::Mutex<Option<HeaderValue>>,
}

/// What a failed attempt means.
enum Failure {
    /// Another attempt may help, after this pause.
    Again(PullError, Option<Duration>),
    Final(PullError),
}

impl Registry {
    pub(crate) fn new(
        web: WebClient,
        named: Named,
        login: Option<Login>,
        known: Arc<Known>,
        insecure: &[String],
    ) -> Registry {
        // A development registry speaks plain HTTP; one that is only called insecure may well do better.
        let schemes: &[&str] = match () {
            () if is_loopback(&named.registry) => &["http", "https"],
            () if insecure.contains(&named.registry) => &["https", "http"],
            () => &["https"],
        };
        let image = named.familiar();
        Registry { web, named, image, login, known, schemes, authorization: tokio::sync::Mutex::default() }
    }

    /// The image's manifest for this machine, with its digest.
    pub(crate) async fn manifest(&self) -> Result<(Digest, Manifest), PullError> {
        let mut version = self.named.version();
        let mut expected = self.named.digest.clone();
        for _ in 0..DEPTH {
            let (bytes, kind) = self.document(&version, expected.as_ref()).await?;
            let found = match &expected {
                Some(digest) => digest.clone(),
                None => Digest::of(&bytes),
            };
            match manifest::document(&bytes, kind.as_deref())
                .map_err(|refusal| self.refused(refusal, "the manifest"))?
            {
                Document::Manifest(manifest) => return Ok((found, manifest)),
                Document::Index(descriptor) => {
                    version = descriptor.digest.to_string();
                    expected = Some(descriptor.digest);
                }
            }
        }
        let reason = format!("more than {DEPTH} indexes lead to each other");
        Err(PullError::Malformed { image: self.image.clone(), what: "the manifest".into(), reason })
    }

    /// A configuration, verified.
    pub(crate) async fn config(&self, descriptor: &Descriptor) -> Result<Vec<u8>, PullError> {
        let path = format!("blobs/{}", descriptor.digest);
        let (bytes, _) = self.whole(&path, "the configuration", None, manifest::CONFIG_BYTES).await?;
        self.verify("the configuration", &bytes, &descriptor.digest)?;
        Ok(bytes)
    }

    /// A blob from a byte on. The answer is a success; whether it is partial has to be looked at.
    pub(crate) async fn blob(&self, digest: &Digest, from: u64) -> Result<Answer, RetryOrNot> {
        let what = format!("layer {digest}");
        let answer = self.ask(&format!("blobs/{digest}"), &what, None, from).await;
        let answer = match answer {
            Ok(answer) if answer.status.is_success() => Ok(answer),
            Ok(answer) => Err(self.unsuccessful(&what, answer).await),
            Err(failure) => Err(failure),
        };
        answer.map_err(|failure| match failure {
            Failure::Again(error, pause) => RetryOrNot::Retry(error, pause),
            Failure::Final(error) => RetryOrNot::GiveUp(error),
        })
    }

    pub(crate) fn image(&self) -> &str {
        &self.image
    }

    pub(crate) fn host(&self) -> &str {
        &self.named.registry
    }

    /// A document's refusal, with the image's name.
    pub(crate) fn refused(&self, refusal: Refusal, what: &str) -> PullError {
        refused(&self.image, refusal, what)
    }

    async fn document(
        &self,
        version: &str,
        expected: Option<&Digest>,
    ) -> Result<(Vec<u8>, Option<String>), PullError> {
        let path = format!("manifests/{version}");
        let found =
            self.whole(&path, "the manifest", Some(manifest::ACCEPT), manifest::MANIFEST_BYTES).await?;
        if let Some(expected) = expected {
            self.verify("the manifest", &found.0, expected)?;
        }
        Ok(found)
    }

    fn verify(&self, what: &str, bytes: &[u8], expected: &Digest) -> Result<(), PullError> {
        let mut hasher = expected.hasher();
        hasher.update(bytes);
        let found = hasher.finish();
        if found == *expected {
            return Ok(());
        }
        let (image, what, expected) = (self.image.clone(), what.to_owned(), expected.clone());
        Err(PullError::Digest { image, what, expected, found })
    }

    /// A small document with its media type; tried several times.
    async fn whole(
        &self,
        path: &str,
        what: &str,
        accept: Option<&'static str>,
        limit: usize,
    ) -> Result<(Vec<u8>, Option<String>), PullError> {
        let mut attempt = 0;
        loop {
            attempt += 1;
            let (error, pause) = match self.whole_once(path, what, accept, limit).await {
                Ok(found) => return Ok(found),
                Err(Failure::Final(error)) => return Err(error),
                Err(Failure::Again(error, pause)) => (error, pause),
            };
            if attempt == ATTEMPTS {
                return Err(error);
            }
            sleep(pause.unwrap_or(PAUSE * 2u32.pow(attempt - 1))).await;
        }
    }

    async fn whole_once(
        &self,
        path: &str,
        what: &str,
        accept: Option<&'static str>,
        limit: usize,
    ) -> Result<(Vec<u8>, Option<String>), Failure> {
        let answer = self.ask(path, what, accept, 0).await?;
        if answer.status != StatusCode::OK {
            return Err(self.unsuccessful(what, answer).await);
        }
        let kind = answer.header(header::CONTENT_TYPE).map(str::to_owned);
        let bytes = answer.body.read(limit).await.map_err(|error| self.failed(what, error))?;
        Ok((bytes, kind))
    }

    /// One request, after convincing the registry if it asks for that.
    async fn ask(
        &self,
        path: &str,
        what: &str,
        accept: Option<&'static str>,
        from: u64,
    ) -> Result<Answer, Failure> {
        let used = self.authorization.lock().await.clone();
        let used = used.or_else(|| self.known.tokens.get(&self.named, self.login.as_ref()));
        let (scheme, answer) = self.ask_some_scheme(path, what, accept, from, used.as_ref()).await?;
        if answer.status != StatusCode::UNAUTHORIZED {
            return Ok(answer);
        }
        let fresh = self.convince(scheme, &answer, used.as_ref()).await?;
        drop(answer);
        let call = self.call(scheme, path, accept, from, Some(&fresh))?;
        self.web.send(call).await.map_err(|error| self.failed(what, error))
    }

    /// Finds out whether a registry that may be insecure is. No credentials go out with that: it is
    /// known when they are asked for.
    async fn ask_some_scheme(
        &self,
        path: &str,
        what: &str,
        accept: Option<&'static str>,
        from: u64,
        authorization: Option<&HeaderValue>,
    ) -> Result<(&'static str, Answer), Failure> {
        let known = self.schemes_known().get(&self.named.registry).copied();
        let known = known.or(if let [only] = self.schemes { Some(only) } else { None });
        if let Some(scheme) = known {
            let call = self.call(scheme, path, accept, from, authorization)?;
            let answer = self.web.send(call).await.map_err(|error| {
                // It may have become another server.
                self.schemes_known().remove(&self.named.registry);
                self.failed(what, error)
            })?;
            return Ok((scheme, answer));
        }
        let mut first = None;
        for scheme in self.schemes.iter().copied() {
            match self.web.send(self.call(scheme, path, accept, from, None)?).await {
                // What a TLS server says to plain HTTP.
                Ok(answer)
                    if answer.status == StatusCode::BAD_REQUEST && scheme == "http" && first.is_none() =>
                {
                    first = Some(self.unsuccessful(what, answer).await);
                }
                Ok(answer) => {
                    let mut schemes = self.schemes_known();
                    if schemes.len() >= SCHEMES {
                        schemes.clear();
                    }
                    schemes.insert(self.named.registry.clone(), scheme);
                    return Ok((scheme, answer));
                }
                Err(error @ (web_client::Error::Tls { .. } | web_client::Error::Closed { .. })) => {
                    // An untrusted certificate says more than what plain HTTP meets there.
                    let tls = matches!(error, web_client::Error::Tls { .. });
                    let closed_first = matches!(first, Some(Failure::Again(..)) | None);
                    if first.is_none() || (tls && !closed_first) {
                        first = Some(self.failed(what, error));
                    }
                }
                Err(error) => return Err(self.failed(what, error)),
            }
        }
        Err(first.expect("there is at least one scheme"))
    }

    fn schemes_known(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, &'static str>> {
        self.known.schemes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn call(
        &self,
        scheme: &str,
        path: &str,
        accept: Option<&'static str>,
        from: u64,
        authorization: Option<&HeaderValue>,
    ) -> Result<Call, Failure> {
        let host = match self.named.registry.as_str() {
            "docker.io" => "registry-1.docker.io",
            host => host,
        };
        let text = format!("{scheme}://{host}/v2/{}/{path}", self.named.repository);
        let url: Url =
            text.parse().map_err(|error| self.failed("the address", web_client::Error::Url(error)))?;
        let mut call = Call::get(url);
        if let Some(accept) = accept {
            call = call.with_header(header::ACCEPT, HeaderValue::from_static(accept));
        }
        if let Some(authorization) = authorization {
            call = call.with_header(header::AUTHORIZATION, authorization.clone());
        }
        Ok(if from > 0 { call.from_byte(from) } else { call })
    }

    /// What to send so that the registry answers, by what it challenged with.
    async fn convince(
        &self,
        scheme: &str,
        answer: &Answer,
        used: Option<&HeaderValue>,
    ) -> Result<HeaderValue, Failure> {
        let mut authorization = self.authorization.lock().await;
        // Another layer's request may have done it meanwhile.
        if let Some(other) = authorization.as_ref().filter(|other| Some(*other) != used) {
            return Ok(other.clone());
        }
        let headers = answer.headers.get_all(header::WWW_AUTHENTICATE);
        let asked: Vec<Challenge> =
            headers.iter().filter_map(|value| value.to_str().ok()).flat_map(challenges).take(16).collect();
        let bearer = asked.iter().find(|challenge| matches!(challenge, Challenge::Bearer { .. }));
        let fresh = match (bearer, &self.login) {
            (Some(Challenge::Bearer { realm, service, scope }), _) => {
                let default = format!("repository:{}:pull", self.named.repository);
                let scope = scope.as_deref().unwrap_or(&default);
                let given = token(self, scheme, realm, service.as_deref(), scope).await?;
                self.known.tokens.put(&self.named, self.login.as_ref(), &given);
                given.authorization
            }
            (_, Some(Login::Basic { user, password }))
                if asked.contains(&Challenge::Basic) && used.is_none() =>
            {
                basic(user, password)
            }
            _ => return Err(Failure::Final(self.denied(StatusCode::UNAUTHORIZED))),
        };
        *authorization = Some(fresh.clone());
        Ok(fresh)
    }

    fn denied(&self, status: StatusCode) -> PullError {
        PullError::Denied {
            image: self.image.clone(),
            registry: self.named.registry.clone(),
            status: status.as_u16(),
            with_credentials: self.login.is_some(),
        }
    }

    /// A call that brought no answer, or not all of it.
    fn failed(&self, what: &str, error: web_client::Error) -> Failure {
        // A server that hangs is given one chance: the user waits.
        let hangs = matches!(error, web_client::Error::NoAnswer { .. } | web_client::Error::Stalled { .. });
        let again = error.is_transient() && !hangs;
        let error = PullError::Transfer {
            image: self.image.clone(),
            what: what.to_owned(),
            from: self.named.registry.clone(),
            reason: error.to_string(),
        };
        if again { Failure::Again(error, None) } else { Failure::Final(error) }
    }

    /// An answer that is no success.
    async fn unsuccessful(&self, what: &str, answer: Answer) -> Failure {
        let (status, registry) = (answer.status, self.named.registry.clone());
        let image = self.image.clone();
        match status {
            StatusCode::NOT_FOUND if what == "the manifest" => {
                return Failure::Final(PullError::NotFound { image, registry });
            }
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => return Failure::Final(self.denied(status)),
            _ => {}
        }
        let pause = answer.header(header::RETRY_AFTER).and_then(|text| text.trim().parse().ok());
        let pause = pause.map(|seconds| Duration::from_secs(seconds).min(LONGEST_PAUSE));
        let message = answer.body.read(ERROR_BYTES).await.map(|body| message(&body)).unwrap_or_default();
        let error = PullError::Answer {
            image,
            what: what.to_owned(),
            from: registry,
            status: status.as_u16(),
            message,
        };
        match status {
            StatusCode::TOO_MANY_REQUESTS | StatusCode::REQUEST_TIMEOUT => Failure::Again(error, pause),
            status if status.is_server_error() => Failure::Again(error, pause),
            _ => Failure::Final(error),
        }
    }
}

/// What to do about a blob's failure.
pub(crate) enum RetryOrNot {
    /// Another attempt may help.
    Retry(PullError, Option<Duration>),
    /// None will.
    GiveUp(PullError),
}

/// A document's refusal, with the image's name.
pub(crate) fn refused(image: &str, refusal: Refusal, what: &str) -> PullError {
    let (image, what) = (image.to_owned(), what.to_owned());
    match refusal {
        Refusal::Malformed(reason) => PullError::Malformed { image, what, reason },
        Refusal::Unsupported(reason) => PullError::Unsupported { image, reason },
        Refusal::Platform(found) => PullError::Platform { image, wanted: manifest::platform(), found },
    }
}

/// The first error's message of a registry's answer, or the start of whatever it said.
fn message(body: &[u8]) -> String {
    let json: Option<serde_json::Value> = serde_json::from_slice(body).ok();
    let told = json.as_ref().and_then(|json| json["errors"][0]["message"].as_str());
    let text = told.map_or_else(|| String::from_utf8_lossy(body), Into::into);
    let line = text.lines().next().unwrap_or_default();
    line.chars().filter(|letter| !letter.is_control()).take(200).collect()
}

/// `localhost`, 127/8 and `[::1]`, with or without a port.
fn is_loopback(registry: &str) -> bool {
    let host = match registry.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((host, _)) => host,
        None => registry.split(':').next().unwrap_or_default(),
    };
    host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_this_machine_is_loopback() {
        for loopback in ["localhost", "localhost:5000", "127.0.0.1", "127.9.8.7:80", "[::1]", "[::1]:5000"] {
            assert!(is_loopback(loopback), "{loopback}");
        }
        for other in ["", "docker.io", "127.0.0.1.evil.x", "localhost.x:5000", "10.0.0.1:5000", "[fe80::1]:5"]
        {
            assert!(!is_loopback(other), "{other}");
        }
    }

    #[test]
    fn errors_show_what_the_registry_said() {
        let check = |body: &str, expected| assert_eq!(message(body.as_bytes()), expected);
        check(r#"{"errors": [{"code": "X", "message": "slow down"}]}"#, "slow down");
        check("<html>\nmore", "<html>");
        check("", "");
        check(r#"{"errors": []}"#, r#"{"errors": []}"#);
    }
}
