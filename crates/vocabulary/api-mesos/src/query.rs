//! Query strings and form bodies.

use std::collections::BTreeMap;

/// The parameters of a query string or of an `application/x-www-form-urlencoded` body. Of a name that
/// comes twice the last value counts, as in Mesos.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Query(BTreeMap<String, String>);

impl Query {
    /// Reads `name=value&name=value`. The error is Mesos' text. Mesos: process::http::query::decode.
    pub fn parse(text: &str) -> Result<Query, String> {
        let mut parameters = BTreeMap::new();
        for pair in text.split([';', '&']).filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            parameters.insert(decode(name)?, decode(value)?);
        }
        Ok(Query(parameters))
    }

    /// The value of a parameter.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// The function that a document is to be wrapped in a call of (`jsonp`). Mesos puts anything before the
    /// parenthesis; a name is all that a page needs, and it cannot carry a script of somebody else's.
    ///
    /// # Errors
    /// When it is no name; the text is for the client.
    pub fn jsonp(&self) -> Result<Option<&str>, &'static str> {
        let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '$' | '.');
        match self.get("jsonp") {
            Some(name) if name.is_empty() || name.len() > 256 || !name.chars().all(allowed) => {
                Err("Expecting 'jsonp' to be the name of a function")
            }
            name => Ok(name),
        }
    }

    /// The value of a parameter that is a whole number; one that is not counts as absent, as in Mesos.
    pub fn number(&self, name: &str) -> Option<usize> {
        self.get(name)?.trim().parse().ok()
    }
}

/// Percent decoding, `+` being a space.
fn decode(text: &str) -> Result<String, String> {
    let bytes = text.as_bytes();
    let malformed = |at: usize| {
        let escape = String::from_utf8_lossy(&bytes[at..bytes.len().min(at + 3)]);
        format!("Malformed % escape in '{text}': '{escape}'")
    };
    let digit = |at: usize| bytes.get(at).and_then(|digit| char::from(*digit).to_digit(16));
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'+' => out.push(b' '),
            b'%' => {
                let (Some(high), Some(low)) = (digit(at + 1), digit(at + 2)) else {
                    return Err(malformed(at));
                };
                out.push((high * 16 + low) as u8);
                at += 2;
            }
            other => out.push(*other),
        }
        at += 1;
    }
    String::from_utf8(out).map_err(|_| format!("'{text}' is not UTF-8 when decoded"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_decoded() {
        let query = Query::parse("limit=1&a%20b=c+d&limit=2&flag&x=1%3D2").unwrap();
        assert_eq!(query.get("limit"), Some("2"));
        assert_eq!(query.number("limit"), Some(2));
        assert_eq!(query.get("a b"), Some("c d"));
        assert_eq!(query.get("flag"), Some(""));
        assert_eq!(query.get("x"), Some("1=2"));
        assert_eq!(query.number("x"), None);
        assert_eq!(query.get("nope"), None);
    }

    #[test]
    fn a_function_is_a_name() {
        let check = |text, expect: Result<Option<&str>, ()>| {
            assert_eq!(Query::parse(text).unwrap().jsonp().map_err(drop), expect, "{text}");
        };
        check("x=1", Ok(None));
        check("jsonp=a.b_$1", Ok(Some("a.b_$1")));
        check("jsonp=", Err(()));
        check("jsonp=alert(1)//", Err(()));
    }

    #[test]
    fn broken_escapes_are_refused() {
        let check = |text, error: &str| assert_eq!(Query::parse(text), Err(error.to_owned()));
        check("a=%", "Malformed % escape in '%': '%'");
        check("a=x%4", "Malformed % escape in 'x%4': '%4'");
        check("%zzz=1", "Malformed % escape in '%zzz': '%zz'");
        check("a=%ff", "'%ff' is not UTF-8 when decoded");
    }
}
