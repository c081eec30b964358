use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// The id of an app or a group: an absolute path such as `/shop/cart`, in canonical form (one slash before every
/// segment, none at the end, no `.` or `..`). The root group is `/`.
///
/// Being canonical is not being allowed: an id that came in a URL may hold anything and simply names nothing. Which
/// ids an app may be created with says [`AppId::problems`].
///
/// Marathon: `PathId`, `AbsolutePathId`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct AppId(Arc<str>);

/// The pattern of a segment, as Marathon's messages quote it.
const SEGMENT_PATTERN: &str =
    "^(([a-z0-9]|[a-z0-9][a-z0-9\\-]*[a-z0-9])\\.)*([a-z0-9]|[a-z0-9][a-z0-9\\-]*[a-z0-9])|(\\.|\\.\\.)$";

/// Last segments that would hide a route of the API.
const RESERVED: [&str; 5] = ["restart", "tasks", "versions", ".", ".."];

impl AppId {
    /// The longest id that an app may have, in bytes. Task ids are made of it and become names of directories, of
    /// which the file system takes 255 bytes.
    pub const MAX_LEN: usize = 190;

    /// The root group, `/`.
    pub fn root() -> AppId {
        AppId(Arc::from("/"))
    }

    /// The canonical form of `text`, read relative to the root.
    pub fn new(text: impl AsRef<str>) -> AppId {
        AppId::root().join(text.as_ref())
    }

    /// The canonical form of `text`, read relative to this id unless it begins with a slash.
    ///
    /// Marathon: `PathId.canonicalPath`.
    pub fn join(&self, text: &str) -> AppId {
        let mut segments: Vec<&str> =
            if text.starts_with('/') { Vec::new() } else { self.segments().collect() };
        for segment in text.split('/') {
            match segment {
                "" | "." => {}
                ".." => {
                    segments.pop();
                }
                segment => segments.push(segment),
            }
        }
        let mut path = String::with_capacity(text.len() + 1);
        for segment in &segments {
            path.push('/');
            path.push_str(segment);
        }
        if path.is_empty() { AppId::root() } else { AppId(Arc::from(path)) }
    }

    /// The whole path, beginning with a slash.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether this is the root group.
    pub fn is_root(&self) -> bool {
        &*self.0 == "/"
    }

    /// The segments from the root on; none for the root.
    pub fn segments(&self) -> impl DoubleEndedIterator<Item = &str> {
        self.0.split('/').filter(|segment| !segment.is_empty())
    }

    /// The group that holds this app or group; the root is its own parent.
    pub fn parent(&self) -> AppId {
        match self.0.rfind('/') {
            Some(0) | None => AppId::root(),
            Some(at) => AppId(Arc::from(&self.0[..at])),
        }
    }

    /// Whether this id is `group` or lies below it.
    pub fn is_within(&self, group: &AppId) -> bool {
        group.is_root()
            || self.0.strip_prefix(&*group.0).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }

    /// The segments joined by underscores: the beginning of instance and task ids (`/shop/cart` -> `shop_cart`).
    ///
    /// Marathon: `PathId.safePath`.
    pub fn safe_path(&self) -> String {
        self.0[1..].replace('/', "_")
    }

    /// The segments from last to first, joined by dots (`/shop/cart` -> `cart.shop`): the task's name in Mesos.
    ///
    /// Marathon: `PathId.toHostname`.
    pub fn to_hostname(&self) -> String {
        self.segments().rev().collect::<Vec<_>>().join(".")
    }

    /// Why no app may have this id; empty if it may.
    ///
    /// Marathon: `PathId.pathIdValidator`, `PathId.nonEmptyPath`.
    pub fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        if self.is_root() {
            problems.push("Path must contain at least one path element".to_owned());
            return problems;
        }
        if !self.segments().all(is_segment) {
            problems.push(format!("must fully match regular expression '{SEGMENT_PATTERN}'"));
        }
        if self.segments().next_back().is_some_and(|last| RESERVED.contains(&last)) {
            problems.push(format!(
                "must not end with any of the following reserved keywords: {}",
                RESERVED.join(", ")
            ));
        }
        if self.0.len() > Self::MAX_LEN {
            problems.push(format!(
                "must not be longer than {} characters, found {}",
                Self::MAX_LEN,
                self.0.len()
            ));
        }
        problems
    }
}

/// Dotted labels of lower-case letters, digits and inner dashes.
pub(crate) fn is_segment(segment: &str) -> bool {
    segment.split('.').all(|label| {
        let bytes = label.as_bytes();
        let inner = |b: &u8| b.is_ascii_lowercase() || b.is_ascii_digit() || *b == b'-';
        match (bytes.first(), bytes.last()) {
            (Some(first), Some(last)) => bytes.iter().all(inner) && *first != b'-' && *last != b'-',
            _ => false,
        }
    })
}

impl fmt::Display for AppId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for AppId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", &*self.0)
    }
}

impl From<&str> for AppId {
    fn from(text: &str) -> AppId {
        AppId::new(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn canonical_forms() {
        let check = |text: &str, canonical: &str| assert_eq!(AppId::new(text).as_str(), canonical, "{text}");
        check("web", "/web");
        check("/web/", "/web");
        check("//shop///cart", "/shop/cart");
        check("/shop/./cart/..", "/shop");
        check("../../x", "/x");
        check("", "/");
        assert_eq!(AppId::new("/shop").join("cart").as_str(), "/shop/cart");
        assert_eq!(AppId::new("/shop/cart").join("../db").as_str(), "/shop/db");
        assert_eq!(AppId::new("/shop").join("/db").as_str(), "/db");
    }

    #[test]
    fn parts() {
        let id = AppId::new("/shop/cart");
        assert_eq!(id.parent().as_str(), "/shop");
        assert_eq!(id.parent().parent(), AppId::root());
        assert_eq!(AppId::root().parent(), AppId::root());
        assert_eq!(id.safe_path(), "shop_cart");
        assert_eq!(id.to_hostname(), "cart.shop");
        assert!(id.is_within(&AppId::new("/shop")) && id.is_within(&id) && id.is_within(&AppId::root()));
        assert!(!AppId::new("/shopping").is_within(&AppId::new("/shop")));
    }

    #[test]
    fn which_ids_an_app_may_have() {
        let check =
            |text: &str, problems: usize| assert_eq!(AppId::new(text).problems().len(), problems, "{text}");
        for good in ["a", "/a-b/c.d", "/0", "/a.b-c.d"] {
            check(good, 0);
        }
        for bad in ["/", "/A", "/a_b", "/-a", "/a-", "/a..b", "/a.", "/ä", "/a b", "/tasks", "/x/restart"] {
            check(bad, 1);
        }
        check(&"x".repeat(AppId::MAX_LEN - 1), 0);
        check(&"x".repeat(AppId::MAX_LEN), 1);
    }
}
