//! Answers, and which status an error has.

use api_pkgpanda::PackageId;
use api_pkgpanda::http;
use http_kit::header::{ALLOW, HeaderValue};
use http_kit::{Method, Response, StatusCode, respond};

use crate::Error;
use crate::fetch::FetchError;
use crate::repository;

/// What a request is refused with.
#[derive(Debug)]
pub(crate) struct Refusal {
    status: StatusCode,
    error: String,
    missing: Option<Vec<String>>,
    allowed: Option<&'static [Method]>,
}

impl Refusal {
    pub(crate) fn new(status: StatusCode, error: impl Into<String>) -> Refusal {
        Refusal { status, error: error.into(), missing: None, allowed: None }
    }

    pub(crate) fn not_found(error: impl Into<String>) -> Refusal {
        Refusal::new(StatusCode::NOT_FOUND, error)
    }

    pub(crate) fn bad(error: impl Into<String>) -> Refusal {
        Refusal::new(StatusCode::BAD_REQUEST, error)
    }

    pub(crate) fn no_package(id: &PackageId) -> Refusal {
        Refusal::not_found(format!("Package {id} is not in the repository"))
    }

    /// Packages of a set that are not there.
    pub(crate) fn missing(mut ids: Vec<String>) -> Refusal {
        ids.sort();
        ids.dedup();
        let error = format!("Packages are not in the repository: {}; fetch them first", ids.join(", "));
        Refusal { missing: Some(ids), ..Refusal::new(StatusCode::CONFLICT, error) }
    }

    pub(crate) fn method(found: &Method, allowed: &'static [Method]) -> Refusal {
        let names = allowed.iter().map(Method::as_str).collect::<Vec<_>>().join(", ");
        let error = format!("method {found} is not allowed here: allowed are {names}");
        Refusal { allowed: Some(allowed), ..Refusal::new(StatusCode::METHOD_NOT_ALLOWED, error) }
    }

    pub(crate) fn response(self) -> Response {
        let body = http::Error { error: self.error, missing_packages: self.missing };
        let mut response = respond::json(self.status, &body);
        if let Some(allowed) = self.allowed {
            let names = allowed.iter().map(Method::as_str).collect::<Vec<_>>().join(", ");
            let names = HeaderValue::from_str(&names).expect("methods are tokens");
            response.headers_mut().insert(ALLOW, names);
        }
        response
    }
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Refusal {
        let status = match &error {
            // What is asked for does not go together, with what is there or with what another does just now.
            Error::Id(_) | Error::Set(_) | Error::NotActive { .. } | Error::Active { .. } => {
                StatusCode::CONFLICT
            }
            Error::Missing { id } => return Refusal::missing(vec![id.clone()]),
            Error::Root(activation::Error::Busy { .. }) => StatusCode::CONFLICT,
            Error::Repository(error) => return status_of(error, &base::with_causes(error)),
            Error::Fetch(FetchError::Origin { .. }) => StatusCode::BAD_REQUEST,
            Error::Fetch(FetchError::Locked { .. }) => StatusCode::CONFLICT,
            _ => StatusCode::INTERNAL_SERVER_ERROR,
        };
        Refusal::new(status, base::with_causes(&error))
    }
}

impl From<repository::Error> for Refusal {
    fn from(error: repository::Error) -> Refusal {
        status_of(&error, &base::with_causes(&error))
    }
}

fn status_of(error: &repository::Error, text: &str) -> Refusal {
    let status = match error {
        repository::Error::Missing(id) => return Refusal::no_package(id),
        repository::Error::Active(_) | repository::Error::Locked { .. } => StatusCode::CONFLICT,
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    };
    Refusal::new(status, text)
}
