//! Names of entries: checked before the kernel ever sees one.

use crate::error::Refusal;

/// The most bytes of a name: what the kernel takes for a path, without the zero at its end.
pub(crate) const NAME_BYTES: usize = 4095;
/// The most components of a name.
pub(crate) const NAME_DEPTH: usize = 256;

/// A checked name: relative, without `.`, `..` and empty components. The top itself is empty.
#[derive(Debug, Default)]
pub(crate) struct Name {
    bytes: Vec<u8>,
    /// Where the last component begins.
    last: usize,
}

impl Name {
    /// Checks `raw` and takes it over; the space of the former name is used again.
    pub(crate) fn set(&mut self, raw: &[u8]) -> Result<(), Refusal> {
        self.bytes.clear();
        self.last = 0;
        if raw.is_empty() {
            return Err(Refusal::NoName);
        }
        // `/` alone is how some image builders call the top of a layer.
        if raw[0] == b'/' && raw.iter().any(|byte| *byte != b'/') {
            return Err(Refusal::Absolute);
        }
        if raw.len() > NAME_BYTES {
            return Err(Refusal::LongName(NAME_BYTES));
        }
        if raw.contains(&0) {
            return Err(Refusal::Nul);
        }
        let mut depth = 0;
        for component in raw.split(|byte| *byte == b'/') {
            match component {
                b"" | b"." => continue,
                b".." => return Err(Refusal::Parent),
                _ => depth += 1,
            }
            if depth > NAME_DEPTH {
                return Err(Refusal::Deep(NAME_DEPTH));
            }
            if !self.bytes.is_empty() {
                self.bytes.push(b'/');
            }
            self.last = self.bytes.len();
            self.bytes.extend_from_slice(component);
        }
        Ok(())
    }

    /// The whole name, components joined by single slashes; empty for the top.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The name of the directory that it lies in; empty for the top.
    pub(crate) fn parent(&self) -> &[u8] {
        &self.bytes[..self.last.saturating_sub(1)]
    }

    /// The last component; empty for the top.
    pub(crate) fn last(&self) -> &[u8] {
        &self.bytes[self.last..]
    }

    /// Whether it is the top itself.
    pub(crate) fn is_top(&self) -> bool {
        self.bytes.is_empty()
    }
}

/// Splits a checked name into parent and last component.
pub(crate) fn split(name: &[u8]) -> (&[u8], &[u8]) {
    match name.iter().rposition(|byte| *byte == b'/') {
        Some(at) => (&name[..at], &name[at + 1..]),
        None => (b"", name),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(raw: &[u8], expect: Result<(&str, &str), Refusal>) {
        let mut name = Name::default();
        let found = name.set(raw).map(|()| {
            assert_eq!(split(name.bytes()), (name.parent(), name.last()));
            (String::from_utf8_lossy(name.parent()), String::from_utf8_lossy(name.last()))
        });
        let raw = String::from_utf8_lossy(raw);
        assert_eq!(found, expect.map(|(parent, last)| (parent.into(), last.into())), "{raw:?}");
    }

    #[test]
    fn names_are_normal_or_refused() {
        check(b"a", Ok(("", "a")));
        check(b"./a/b", Ok(("a", "b")));
        check(b"a//b/./c/", Ok(("a/b", "c")));
        check(b"./", Ok(("", "")));
        check(b".", Ok(("", "")));
        check(b"//", Ok(("", "")));
        check(b"...", Ok(("", "...")));
        check(b"a/..b", Ok(("a", "..b")));
        check(b"\xff", Ok(("", "\u{fffd}")));
        check(b"", Err(Refusal::NoName));
        check(b"/etc/passwd", Err(Refusal::Absolute));
        check(b"..", Err(Refusal::Parent));
        check(b"a/../b", Err(Refusal::Parent));
        check(b"a/..", Err(Refusal::Parent));
        check(b"a\0b", Err(Refusal::Nul));
        check(&[b'a'; NAME_BYTES + 1], Err(Refusal::LongName(NAME_BYTES)));
        check(&b"a/".repeat(NAME_DEPTH + 1), Err(Refusal::Deep(NAME_DEPTH)));
    }
}
