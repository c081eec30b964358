//! Every field that an app in a request may have: the one table that reading takes its bounds and words from, and that
//! the reference in `docs/guide/app-definition.md` is written from.
//!
//! Reading a field that the table lacks panics in tests, and every entry is tested to be read and to be bounded as it
//! says, so that the two cannot drift apart.

mod table;

#[cfg(test)]
mod tests;

use std::borrow::Cow;

pub use table::{FIELDS, GROUP_FIELDS};

/// A field of an app.
#[derive(Clone, Copy, Debug)]
pub struct Field {
    /// Where it is: `healthChecks[].port` is the member `port` of each element of `healthChecks`, `env.*` any member.
    pub path: &'static str,
    /// What it may be.
    pub kind: Kind,
    /// What it is if it is not given.
    pub default: Default,
    /// What it is for.
    pub meaning: &'static str,
}

/// What a field may be.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Kind {
    /// Text, and what of it is allowed; empty if any is.
    Text(&'static str),
    /// Yes or no.
    Flag,
    /// A whole number from the first to the second.
    Whole(u64, u64),
    /// A number from the first to the second.
    Number(f64, f64),
    /// One of these, upper or lower case.
    Word(&'static [&'static str]),
    /// An array, and what it is of.
    List(&'static str),
    /// An object of the members that follow in the table.
    Object,
    /// An object of texts by name.
    Texts,
    /// Something else, in words.
    Other(&'static str),
    /// Something that Marathon knows and this does not: why it is refused if it is not empty.
    Refused(&'static str),
    /// An old form of the field of this path, read and turned into the new one.
    Old(&'static str),
}

/// What a field is if it is not given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Default {
    /// It must be given, if the object that it is in is.
    Required,
    /// Nothing.
    Absent,
    /// This JSON.
    Json(&'static str),
    /// Something that depends on others, in words.
    Said(&'static str),
}

impl Field {
    /// The field at a path as problems name it, such as `/healthChecks(0)/port`.
    pub fn at(path: &str) -> Option<&'static Field> {
        let path = table_path(path);
        FIELDS.iter().chain(GROUP_FIELDS).find(|field| field.path == path)
    }
}

/// `/healthChecks(0)/port` as `healthChecks[].port`; of old places of port mappings, that of the new one.
fn table_path(path: &str) -> Cow<'static, str> {
    // An app of many.
    let path = if path.starts_with('(') { path.split_once(')').map_or("", |(_, rest)| rest) } else { path };
    let path = without_groups(path.strip_prefix('/').unwrap_or(path));
    if let Some(name) = path.strip_prefix("env/") {
        return Cow::Borrowed(if name.ends_with("/secret") { "env.*.secret" } else { "env.*" });
    }
    let mut out = String::with_capacity(path.len());
    let mut in_index = false;
    for c in path.chars() {
        match c {
            '(' => {
                out.push_str("[]");
                in_index = true;
            }
            ')' => in_index = false,
            _ if in_index => {}
            '/' => out.push('.'),
            c => out.push(c),
        }
    }
    Cow::Owned(out.replace("container.docker.portMappings[].", "container.portMappings[]."))
}

/// The path within the app, of one such as `groups(0)/apps(1)/cmd`.
fn without_groups(path: &str) -> &str {
    let mut rest = path;
    while let Some((group, inner)) = rest.split_once('/').filter(|(first, _)| first.starts_with("groups(")) {
        debug_assert!(group.ends_with(')'));
        rest = inner;
    }
    match rest.split_once('/') {
        Some((first, inner)) if first.starts_with("apps(") => inner,
        _ => rest,
    }
}
