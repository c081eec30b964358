//! Which encoding a request has and which one its answer may have, with Mesos' habits.

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
}

/// Whether an `Accept` header allows `media_type`. No header allows everything; the most specific
/// mention decides, and `q=0` refuses. Mesos: Request::_acceptsMediaType.
fn accepts(accept: Option<&str>, media_type: &str) -> bool {
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
    use super::*;

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
