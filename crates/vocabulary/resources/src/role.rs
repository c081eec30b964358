//! The names of roles: `*`, or components separated by slashes, `eng/backend`.

/// Why a text is no role. The texts are those of Mesos (src/common/roles.cpp) and shown to users.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct RoleError(String);

/// Whether `role` can name a role.
pub fn validate(role: &str) -> Result<(), RoleError> {
    let refuse = |text: String| Err(RoleError(text));
    if role == "*" {
        return Ok(());
    }
    if role.starts_with('/') {
        return refuse(format!("Role '{role}' cannot start with a slash"));
    }
    if role.ends_with('/') {
        return refuse(format!("Role '{role}' cannot end with a slash"));
    }
    if role.contains("//") {
        return refuse(format!("Role '{role}' cannot contain two adjacent slashes"));
    }
    if role.is_empty() {
        return refuse("Role names cannot be the empty string".to_owned());
    }
    for component in role.split('/') {
        if matches!(component, "." | ".." | "*") {
            return refuse(format!("Role '{role}' cannot include '{component}' as a component"));
        }
        if component.starts_with('-') {
            return refuse(format!("Role component '{component}' is invalid because it starts with a dash"));
        }
        if component.bytes().any(|byte| matches!(byte, b'\t'..=b'\r' | b' ' | 0x7f)) {
            return refuse(format!(
                "Role component '{component}' is invalid because it contains backspace or whitespace"
            ));
        }
    }
    Ok(())
}

/// Whether `role` lies strictly below `ancestor`: `a/b` below `a`.
pub fn is_strict_subrole(role: &str, ancestor: &str) -> bool {
    role.strip_prefix(ancestor).is_some_and(|rest| rest.starts_with('/'))
}

/// The roles above `role`, the nearest first: `a/b`, `a` for `a/b/c`.
pub fn ancestors(role: &str) -> impl Iterator<Item = &str> {
    role.rmatch_indices('/').map(move |(at, _)| &role[..at])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_read_as_in_mesos() {
        let check = |role: &str, text: &str| match validate(role) {
            Ok(()) => assert_eq!(text, "", "{role}"),
            Err(error) => assert_eq!(error.to_string(), text),
        };
        for role in ["*", "a", "eng/backend", "a..b", "x-y", "слово"] {
            check(role, "");
        }
        check("a/../b", "Role 'a/../b' cannot include '..' as a component");
        check("./a", "Role './a' cannot include '.' as a component");
        check("a/*", "Role 'a/*' cannot include '*' as a component");
        check("", "Role names cannot be the empty string");
        check("/a", "Role '/a' cannot start with a slash");
        check("a/", "Role 'a/' cannot end with a slash");
        check("a//b", "Role 'a//b' cannot contain two adjacent slashes");
        check("a/-b", "Role component '-b' is invalid because it starts with a dash");
        check("a b", "Role component 'a b' is invalid because it contains backspace or whitespace");
    }

    #[test]
    fn the_tree_of_roles() {
        assert!(is_strict_subrole("a/b", "a"));
        assert!(!is_strict_subrole("ab", "a"));
        assert!(!is_strict_subrole("a", "a"));
        assert_eq!(ancestors("a/b/c").collect::<Vec<_>>(), ["a/b", "a"]);
        assert_eq!(ancestors("a").count(), 0);
    }
}
