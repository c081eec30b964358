//! Requests in, definitions and answers out: against JSON as Marathon's users send and see it.

mod bad_input;
mod containers;
mod golden;
mod groups;
mod round_trip;

use api_marathon::{ApiError, AppDefinition, AppUpdate, Settings};
use base::Wall;
use serde_json::Value;

pub(crate) const NOW: Wall = Wall(1_480_587_330_123_456_789);

pub(crate) fn settings() -> Settings {
    Settings { role: "slave_public".to_owned() }
}

/// What a `POST /v2/apps` of `body` makes.
pub(crate) fn post(body: &str) -> Result<AppDefinition, ApiError> {
    AppUpdate::parse(body.as_bytes())?.create(None, &settings(), NOW)
}

/// The first `app` changed by a `PATCH` of `body`.
pub(crate) fn patch(app: &AppDefinition, body: &str) -> Result<AppDefinition, ApiError> {
    AppUpdate::parse(body.as_bytes())?.apply(app, &settings())
}

pub(crate) fn json(text: &str) -> Value {
    serde_json::from_str(text).expect("a test's JSON")
}

/// The body of a refusal as clients see it.
pub(crate) fn body_of(error: &ApiError) -> Value {
    serde_json::to_value(&error.body).expect("bodies have string keys and cannot fail")
}
