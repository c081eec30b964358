//! Which encoding a request has and which one its answer may have, with Mesos' habits.

use mesos_proto::{DecodeError, binary, json};
use prost::{Message, Name};

/// An encoding of the v1 API's messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Encoding {
    /// `application/json`
    Json,
    /// `application/x-protobuf`
    Protobuf,
}

impl Encoding {
    /// The media type as it stands in `Content-Type`.
    pub fn media_type(self) -> &'static str {
        match self {
            Encoding::Json => "application/json",
            Encoding::Protobuf => "application/x-protobuf",
        }
    }

    /// The encoding of a request's body. Mesos compares the whole header's value, case and parameters
    /// included: `application/json; charset=utf-8` is refused.
    pub fn of_content_type(value: &str) -> Option<Encoding> {
        match value {
            "application/json" => Some(Encoding::Json),
            "application/x-protobuf" => Some(Encoding::Protobuf),
            _ => None,
        }
    }

    /// The encoding for the answer: JSON where it is allowed, else protobuf, else none.
    /// Mesos: Master::Http::api.
    pub fn for_answer(accept: Option<&str>) -> Option<Encoding> {
        [Encoding::Json, Encoding::Protobuf]
            .into_iter()
            .find(|encoding| accepts(accept, encoding.media_type()))
    }

    /// The call in a request's body.
    ///
    /// # Errors
    /// Mesos' words for what is wrong with it. Mesos reads JSON's text first and makes a message of it
    /// then; its errors say which of both failed.
    pub fn decode_call<M: Message + Name + Default>(self, body: &[u8]) -> Result<M, String> {
        match self {
            Encoding::Protobuf => {
                binary::decode_checked(body).map_err(|_| "Failed to parse body into Call protobuf".to_owned())
            }
            Encoding::Json => json::from_json(body).map_err(|error| match error {
                DecodeError::Syntax { .. } => format!("Failed to parse body into JSON: {error}"),
                _ => format!("Failed to convert JSON into Call protobuf: {error}"),
            }),
        }
    }
}

/// Whether an `Accept` header allows `media_type`. No header allows everything; the most specific
/// mention decides, and `q=0` refuses. Mesos: Request::_acceptsMediaType.
pub fn accepts(accept: Option<&str>, media_type: &str) -> bool {
    let Some(accept) = accept else { return true };
    let kind = media_type.split('/').next().unwrap_or_default();
    let candidates = [media_type.to_owned(), format!("{kind}/*"), "*/*".to_owned()];
    for candidate in candidates {
        for mention in accept.split(',').map(str::trim).filter(|mention| !mention.is_empty()) {
            let mut tokens = mention.split(';').map(str::trim);
            let name = tokens.next().unwrap_or_default();
            if !name.eq_ignore_ascii_case(&candidate) {
                continue;
            }
            let quality = tokens.find_map(|token| token.strip_prefix("q="));
            return quality.is_none_or(|quality| quality.parse::<f64>().is_ok_and(|quality| quality > 0.0));
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use mesos_proto::v1::master::{Call, call};

    use super::*;

    #[test]
    fn calls_are_read_or_refused_in_the_words_of_mesos() {
        let check = |encoding: Encoding, body: &[u8], expect: Result<call::Type, &str>| {
            let found = encoding.decode_call::<Call>(body).map(|call| call.r#type());
            match (&found, expect) {
                (Err(found), Err(expect)) if found.starts_with(expect) => {}
                (found, expect) => assert_eq!(*found, expect.map_err(str::to_owned)),
            }
        };
        let health = Call { r#type: Some(call::Type::GetHealth.into()), ..Call::default() };
        check(Encoding::Protobuf, &binary::encode(&health), Ok(call::Type::GetHealth));
        check(Encoding::Protobuf, b"{}", Err("Failed to parse body into Call protobuf"));
        check(Encoding::Json, br#"{"type":"GET_HEALTH"}"#, Ok(call::Type::GetHealth));
        check(Encoding::Json, b"{", Err("Failed to parse body into JSON: "));
        check(Encoding::Json, br#"{"type":[]}"#, Err("Failed to convert JSON into Call protobuf: "));
    }

    #[test]
    fn answers_are_json_where_allowed() {
        let check =
            |accept: Option<&str>, expect| assert_eq!(Encoding::for_answer(accept), expect, "{accept:?}");
        check(None, Some(Encoding::Json));
        check(Some("*/*"), Some(Encoding::Json));
        check(Some("application/*"), Some(Encoding::Json));
        check(Some("application/json"), Some(Encoding::Json));
        check(Some("APPLICATION/JSON"), Some(Encoding::Json));
        check(Some("application/x-protobuf"), Some(Encoding::Protobuf));
        check(Some("application/x-protobuf;q=0.1, application/json;q=0.9"), Some(Encoding::Json));
        check(Some("application/json;q=0, */*"), Some(Encoding::Protobuf));
        check(Some("text/html"), None);
        check(Some("application/recordio"), None);
        check(Some(""), None);
    }

    #[test]
    fn content_types_are_compared_exactly() {
        assert_eq!(Encoding::of_content_type("application/json"), Some(Encoding::Json));
        assert_eq!(Encoding::of_content_type("application/x-protobuf"), Some(Encoding::Protobuf));
        for refused in ["application/json; charset=utf-8", "Application/JSON", "text/plain", ""] {
            assert_eq!(Encoding::of_content_type(refused), None, "{refused}");
        }
    }
}
