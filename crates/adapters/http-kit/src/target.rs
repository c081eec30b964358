//! What a request is for: path segments and query, percent-decoded.

use std::borrow::Cow;

use http::Uri;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

/// What may stand unescaped in a segment or a value (RFC 3986, 2.3).
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// Decodes `%XX`. Broken escapes stay as they are; bytes that are no UTF-8 become U+FFFD.
pub fn decode(text: &str) -> Cow<'_, str> {
    percent_decode_str(text).decode_utf8_lossy()
}

/// Encodes every byte but ASCII letters, digits and `-._~`, so that the text can be one segment of a
/// path or one value in a query.
pub fn encode(text: &str) -> String {
    utf8_percent_encode(text, ESCAPED).to_string()
}

/// The decoded segments of a path: `/v2/apps//a%2Fb/` has `v2`, `apps`, `a/b`. Empty segments are
/// left out, as Mesos and Marathon do; an escaped slash stays inside its segment.
pub fn segments(path: &str) -> Vec<Cow<'_, str>> {
    path.split('/').filter(|segment| !segment.is_empty()).map(decode).collect()
}

/// The parameters of a query, in order, decoded; `+` is a space.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Query(Vec<(String, String)>);

impl Query {
    /// The query of a URI.
    pub fn of(uri: &Uri) -> Self {
        Query::parse(uri.query().unwrap_or(""))
    }

    /// Parses `a=1&b=2`. A parameter without `=` has an empty value. A request's head has a limit,
    /// and so has this.
    pub fn parse(query: &str) -> Self {
        let parameter = |text: &str| {
            let (name, value) = text.split_once('=').unwrap_or((text, ""));
            let plain = |text: &str| decode(&text.replace('+', " ")).into_owned();
            (plain(name), plain(value))
        };
        Query(query.split('&').filter(|text| !text.is_empty()).map(parameter).collect())
    }

    /// The first value of a parameter.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// All values of a parameter.
    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// Every parameter with its value.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// Whether there is no parameter.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn segments_are_decoded_after_the_split() {
        let check = |path: &str, expect: &[&str]| assert_eq!(segments(path), expect, "{path}");
        check("", &[]);
        check("/", &[]);
        check("/v2/apps//a%2Fb/", &["v2", "apps", "a/b"]);
        check("/%zz/%4/%/%C3%BC/%ff", &["%zz", "%4", "%", "ü", "\u{fffd}"]);
        check("a+b", &["a+b"]);
    }

    #[test]
    fn queries_keep_order_and_repeats() {
        let query = Query::parse("embed=apps.tasks&embed=apps.counts&&force&label=a%3Db+c&=x");
        assert_eq!(query.all("embed").collect::<Vec<_>>(), ["apps.tasks", "apps.counts"]);
        assert_eq!(query.get("force"), Some(""));
        assert_eq!(query.get("label"), Some("a=b c"));
        assert_eq!(query.get(""), Some("x"));
        assert_eq!(query.get("missing"), None);
        assert!(Query::parse("&").is_empty());
    }

    proptest! {
        #[test]
        fn what_is_encoded_is_decoded(text in "\\PC{0,20}") {
            let encoded = encode(&text);
            prop_assert!(encoded.is_ascii());
            prop_assert_eq!(decode(&encoded).into_owned(), text);
        }
    }
}
