//! Patterns for names, as the official CLI takes them: `*`, `?`, `[a-z]`, `[!a]`, and `\` before a
//! character that is meant itself.

/// Whether the whole name matches. A bracket that is not closed is a plain character.
pub(crate) fn matches(pattern: &str, name: &str) -> bool {
    let (pattern, name): (Vec<char>, Vec<char>) = (pattern.chars().collect(), name.chars().collect());
    // Where to go on from when what follows the last `*` does not fit: one character further.
    let mut retry: Option<(usize, usize)> = None;
    let (mut p, mut n) = (0, 0);
    while n < name.len() {
        if pattern.get(p) == Some(&'*') {
            p += 1;
            retry = Some((p, n));
        } else if let Some(next) = one(&pattern, p, name[n]) {
            (p, n) = (next, n + 1);
        } else if let Some((after, from)) = retry {
            (p, n) = (after, from + 1);
            retry = Some((after, from + 1));
        } else {
            return false;
        }
    }
    pattern[p..].iter().all(|c| *c == '*')
}

/// Where the pattern goes on after `c`, if its part at `at` takes it.
fn one(pattern: &[char], at: usize, c: char) -> Option<usize> {
    match pattern.get(at)? {
        '?' => Some(at + 1),
        '\\' if at + 1 < pattern.len() => (pattern[at + 1] == c).then_some(at + 2),
        '[' => match class(pattern, at + 1, c) {
            Some((is_in, next)) => is_in.then_some(next),
            None => (c == '[').then_some(at + 1),
        },
        plain => (*plain == c).then_some(at + 1),
    }
}

/// Whether `c` is in the class that begins at `at`, and where the pattern goes on behind it.
fn class(pattern: &[char], at: usize, c: char) -> Option<(bool, usize)> {
    let is_negated = matches!(pattern.get(at), Some('!' | '^'));
    let first = at + usize::from(is_negated);
    let (mut at, mut is_in) = (first, false);
    loop {
        match pattern.get(at)? {
            ']' if at > first => return Some((is_in != is_negated, at + 1)),
            low if pattern.get(at + 1) == Some(&'-') && pattern.get(at + 2).is_some_and(|c| *c != ']') => {
                is_in |= (*low..=pattern[at + 2]).contains(&c);
                at += 3;
            }
            single => {
                is_in |= *single == c;
                at += 1;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_whole_names() {
        let check = |pattern: &str, name: &str, expect| {
            assert_eq!(matches(pattern, name), expect, "{pattern} {name}");
        };
        check("std*", "stdout", true);
        check("std*", "astdout", false);
        check("*", "", true);
        check("", "", true);
        check("", "a", false);
        check("a?c", "abc", true);
        check("a?c", "ac", false);
        check("*.log", "a.log.log", true);
        check("*a*b", "xaxbxab", true);
        check("*a*b", "xaxbxa", false);
        check("[a-c]x", "bx", true);
        check("[!a-c]x", "bx", false);
        check("[]a]", "]", true);
        check("[a", "[a", true);
        check("\\*", "*", true);
        check("\\*", "a", false);
        check("web.*", "web.instance-1", true);
    }
}
