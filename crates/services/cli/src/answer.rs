//! An answer of the cluster, read whole.

use http_kit::{Bytes, StatusCode};
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::Error;

/// An answer, whatever its status.
#[derive(Debug)]
pub(crate) struct Answer {
    /// What was asked, as in `GET /service/marathon/v2/apps`.
    pub(crate) asked: String,
    /// Its status.
    pub(crate) status: StatusCode,
    /// Its body.
    pub(crate) body: Bytes,
}

impl Answer {
    /// The answer, if it is a success; else what the cluster said as an error.
    pub(crate) fn ok(self) -> Result<Answer, Error> {
        match self.status.is_success() {
            true => Ok(self),
            false => Err(self.refusal()),
        }
    }

    /// The JSON of a success.
    pub(crate) fn json<T: DeserializeOwned>(self) -> Result<T, Error> {
        let answer = self.ok()?;
        serde_json::from_slice(&answer.body).map_err(|error| {
            Error::new(format!("the answer to {} is not what was expected: {error}", answer.asked))
                .hint("Is this the address of a DC/OS cluster? `dcos config show core.dcos_url` tells which is used.")
        })
    }

    /// The body as text.
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// What the cluster said as an error. Texts of 401 and 403: dcos-core-cli.
    pub(crate) fn refusal(&self) -> Error {
        let status = self.status.as_u16();
        match status {
            401 => Error::status(401, "authentication failed, please run `dcos auth login`"),
            403 => Error::status(403, "you are not authorized to perform this operation"),
            _ => match self.message() {
                Some(message) => Error::status(status, message),
                None => Error::status(status, format!("{} was answered with {}", self.asked, self.status)),
            },
        }
    }

    /// The message of an error's body: of Marathon's JSON with its details, or short plain text.
    fn message(&self) -> Option<String> {
        let Ok(body) = serde_json::from_slice::<Value>(&self.body) else {
            let text = self.text();
            let is_text = !text.trim().is_empty() && text.len() < 1000 && !text.trim_start().starts_with('<');
            return is_text.then(|| text.trim().to_owned());
        };
        let mut message = body["message"].as_str()?.to_owned();
        for detail in body["details"].as_array().into_iter().flatten() {
            let errors = detail["errors"].as_array().into_iter().flatten().filter_map(Value::as_str);
            let errors = errors.map(words).collect::<Vec<_>>().join("; ");
            // Ours: what was found and what is allowed, where Marathon has but a code.
            let errors = detail["explanation"].as_str().map_or(errors, str::to_owned);
            match detail["path"].as_str().filter(|path| !path.is_empty()) {
                Some(path) => message.push_str(&format!("\n  {path}: {errors}")),
                None if !errors.is_empty() => message.push_str(&format!("\n  {errors}")),
                None => {}
            }
        }
        Some(message)
    }
}

/// An error of Marathon's in words, if it is a code for a wrong type.
fn words(error: &str) -> &str {
    match error {
        "error.expected.jsnumber" => "must be a number",
        "error.expected.jsstring" => "must be a string",
        "error.expected.jsboolean" => "must be true or false",
        "error.expected.jsarray" => "must be an array",
        "error.expected.jsobject" => "must be an object",
        "error.path.missing" => "is missing",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_are_said_in_the_clusters_words() {
        let check = |status: u16, body: &'static str, said: &str| {
            let answer = Answer {
                asked: "GET /x".to_owned(),
                status: StatusCode::from_u16(status).unwrap(),
                body: Bytes::from_static(body.as_bytes()),
            };
            let error = answer.ok().unwrap_err();
            assert_eq!((error.to_string().as_str(), error.http_status()), (said, Some(status)));
        };
        check(401, "", "authentication failed, please run `dcos auth login`");
        check(403, "", "you are not authorized to perform this operation");
        check(
            400,
            r#"{"message": "Invalid JSON", "details": [
                {"path": "/cpus", "errors": ["error.min"], "explanation": "found -1, allowed is 0.001 or more"},
                {"path": "/mem", "errors": ["error.expected.jsnumber"]}]}"#,
            "Invalid JSON\n  /cpus: found -1, allowed is 0.001 or more\n  /mem: must be a number",
        );
        check(404, r#"{"message": "App '/x' does not exist"}"#, "App '/x' does not exist");
        check(
            422,
            r#"{"message": "Object is not valid", "details": [{"path": "/cpus", "errors": ["must be", "is not"]}]}"#,
            "Object is not valid\n  /cpus: must be; is not",
        );
        check(503, "Service Unavailable\n", "Service Unavailable");
        check(502, "<html>", "GET /x was answered with 502 Bad Gateway");
        check(500, "", "GET /x was answered with 500 Internal Server Error");
    }
}
