//! The `WWW-Authenticate` header of registries (RFC 9110, 11.6.1).

/// Bytes of one header that are looked at.
const BYTES: usize = 16 << 10;

/// How a registry wants to be convinced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Challenge {
    /// User and password.
    Basic,
    /// A token that another server gives.
    Bearer { realm: String, service: Option<String>, scope: Option<String> },
}

/// Reads the challenges of one header; schemes that are not known here are left out.
pub(crate) fn challenges(header: &str) -> Vec<Challenge> {
    let mut rest = header.get(..BYTES).unwrap_or(header).trim_start();
    let mut found = Vec::new();
    while !rest.is_empty() {
        let (scheme, after) = token(rest);
        if scheme.is_empty() {
            // Nothing that a challenge could begin with: separators, or no header at all.
            rest = skip(rest);
            continue;
        }
        let (parameters, after) = parameters(after);
        rest = after;
        let value = |name: &str| {
            let found = parameters.iter().find(|(key, _)| key.eq_ignore_ascii_case(name));
            found.map(|(_, value)| value.clone()).filter(|value| !value.is_empty())
        };
        if scheme.eq_ignore_ascii_case("basic") {
            found.push(Challenge::Basic);
        } else if scheme.eq_ignore_ascii_case("bearer")
            && let Some(realm) = value("realm")
        {
            found.push(Challenge::Bearer { realm, service: value("service"), scope: value("scope") });
        }
    }
    found
}

/// `name=value` pairs up to the next scheme, which is a word without `=`.
fn parameters(text: &str) -> (Vec<(String, String)>, &str) {
    let mut found = Vec::new();
    let mut rest = text;
    loop {
        let start = rest.trim_start_matches([' ', '\t', ',']);
        let (name, after) = token(start);
        let Some(after) = after.trim_start().strip_prefix('=').filter(|_| !name.is_empty()) else {
            // A scheme, the end, or what nobody can read.
            return (found, start);
        };
        let after = after.trim_start();
        let (value, after) = match after.strip_prefix('"') {
            Some(quoted) => quoted_string(quoted),
            None => {
                let end = after.find([',', ' ', '\t']).unwrap_or(after.len());
                (after[..end].to_owned(), &after[end..])
            }
        };
        found.push((name.to_owned(), value));
        rest = after;
    }
}

/// What stands before the closing quote, with escapes resolved, and what comes after it.
fn quoted_string(text: &str) -> (String, &str) {
    let mut value = String::new();
    let mut letters = text.char_indices();
    while let Some((at, letter)) = letters.next() {
        match letter {
            '"' => return (value, &text[at + 1..]),
            '\\' => value.extend(letters.next().map(|(_, escaped)| escaped)),
            letter => value.push(letter),
        }
    }
    (value, "")
}

fn token(text: &str) -> (&str, &str) {
    let of_token = |letter: char| letter.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(letter);
    let end = text.find(|letter| !of_token(letter)).unwrap_or(text.len());
    text.split_at(end)
}

fn skip(text: &str) -> &str {
    let mut letters = text.chars();
    letters.next();
    letters.as_str()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn bearer(realm: &str, service: &str, scope: &str) -> Challenge {
        let some = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
        Challenge::Bearer { realm: realm.to_owned(), service: some(service), scope: some(scope) }
    }

    fn check(header: &str, expected: &[Challenge]) {
        assert_eq!(challenges(header), expected, "{header}");
    }

    #[test]
    fn challenges_are_read() {
        check("Basic realm=\"x\"", &[Challenge::Basic]);
        check("basic", &[Challenge::Basic]);
        check(
            "Bearer realm=\"https://auth.x/token\",service=\"reg.x\",scope=\"repository:a/b:pull,push\"",
            &[bearer("https://auth.x/token", "reg.x", "repository:a/b:pull,push")],
        );
        check("BEARER  realm = \"a\" , service=b", &[bearer("a", "b", "")]);
        check("Negotiate, Basic realm=x, Bearer realm=\"y\"", &[Challenge::Basic, bearer("y", "", "")]);
        check("Digest realm=\"a, Basic\", qop=\"auth\", Basic", &[Challenge::Basic]);
        check("Bearer realm=\"a\\\"b\"", &[bearer("a\"b", "", "")]);
        check("Bearer realm=\"unclosed", &[bearer("unclosed", "", "")]);
        for nothing in ["", " ", "Bearer", "Bearer service=x", "Bearer realm=\"\"", ",,,", "\"", "=", "é"] {
            check(nothing, &[]);
        }
    }

    proptest! {
        /// Reading ends, and a challenge that is written is found in whatever stands before it.
        #[test]
        fn headers_of_any_kind_are_read(noise in "[a-zA-Z=,\" \\\\é]{0,30}", realm in "[a-z:/]{1,10}") {
            challenges(&noise);
            let header = format!("Bearer realm=\"{realm}\",{noise}");
            let first = challenges(&header).into_iter().next();
            let found = match first {
                Some(Challenge::Bearer { realm, .. }) => realm,
                _ => String::new(),
            };
            prop_assert_eq!(found, realm);
        }
    }
}
