use std::collections::BTreeSet;
use std::fmt::Write;

use mesos_proto::v1::FrameworkInfo;
use mesos_proto::v1::framework_info::capability;
use resources::role;

use crate::framework::has_capability;
use crate::validation::validate_id;

/// Whether a framework may describe itself so. Mesos: validation::framework::validate.
pub(crate) fn validate(info: &FrameworkInfo) -> Result<(), String> {
    validate_roles(info)?;
    if let Some(id) = info.id.as_ref().filter(|id| !id.value.is_empty()) {
        validate_id(&id.value)?;
    }
    let timeout = info.failover_timeout.unwrap_or(0.0);
    // What a signed 64-bit number of nanoseconds can hold.
    let longest = i64::MAX as f64 / 1e9;
    if timeout.is_nan() || timeout.abs() > longest {
        return Err(format!("The framework failover_timeout ({}) is invalid", short(timeout)));
    }
    Ok(())
}

fn validate_roles(info: &FrameworkInfo) -> Result<(), String> {
    #[allow(deprecated, reason = "frameworks without MULTI_ROLE use it")]
    let role = info.role.as_deref();
    if !has_capability(info, capability::Type::MultiRole) {
        if !info.roles.is_empty() {
            return Err("'FrameworkInfo.roles' must not be set when the framework is not MULTI_ROLE capable"
                .to_owned());
        }
        return role::validate(role.unwrap_or("*"))
            .map_err(|error| format!("'FrameworkInfo.role' is not a valid role: {error}"));
    }
    if role.is_some() {
        return Err(
            "'FrameworkInfo.role' must not be set when the framework is MULTI_ROLE capable".to_owned()
        );
    }
    let mut seen = BTreeSet::new();
    let twice: BTreeSet<&String> = info.roles.iter().filter(|role| !seen.insert(*role)).collect();
    if !twice.is_empty() {
        return Err(format!("'FrameworkInfo.roles' contains duplicate items: {}", braces(twice)));
    }
    info.roles.iter().try_for_each(|role| {
        role::validate(role).map_err(|error| format!("'FrameworkInfo.roles' contains invalid role: {error}"))
    })
}

/// Whether a known framework may change its description so. Mesos: validation::framework::validateUpdate.
pub(crate) fn validate_update(old: &FrameworkInfo, new: &FrameworkInfo) -> Result<(), String> {
    if old.principal != new.principal {
        return Err("Changing framework's principal is not allowed.".to_owned());
    }
    let refuse = |field: &str, from: &str, to: &str| {
        Err(format!(
            "Updating 'FrameworkInfo.{field}' is unsupported; attempted to update from '{from}' to '{to}'"
        ))
    };
    if old.user != new.user {
        return refuse("user", &old.user, &new.user);
    }
    let (from, to) = (old.checkpoint.unwrap_or(false), new.checkpoint.unwrap_or(false));
    if from != to {
        return refuse("checkpoint", &from.to_string(), &to.to_string());
    }
    Ok(())
}

/// Whether a framework may suppress these roles. Mesos: validation::framework::validateSuppressedRoles.
pub(crate) fn validate_suppressed(
    roles: &BTreeSet<String>,
    suppressed: &BTreeSet<String>,
) -> Result<(), String> {
    let foreign: BTreeSet<&String> = suppressed.difference(roles).collect();
    if foreign.is_empty() {
        return Ok(());
    }
    Err(format!("Suppressed roles {} are not contained in the set of roles", braces(foreign)))
}

pub(crate) fn braces(items: BTreeSet<&String>) -> String {
    let items: Vec<_> = items.into_iter().map(String::as_str).collect();
    format!("{{ {} }}", items.join(", "))
}

/// A number as C++ prints it: six digits, `1e+30`. Only large numbers come here.
fn short(number: f64) -> String {
    if !number.is_finite() {
        return number.to_string().to_lowercase();
    }
    let text = format!("{number:.5e}");
    let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let mantissa =
        if mantissa.contains('.') { mantissa.trim_end_matches('0').trim_end_matches('.') } else { mantissa };
    let mut short = mantissa.to_owned();
    let _ = write!(short, "e+{exponent:0>2}");
    short
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(json: &str, text: &str) {
        let info: FrameworkInfo = mesos_proto::json::from_json(json.as_bytes()).unwrap();
        assert_eq!(validate(&info).err().unwrap_or_default(), text, "{json}");
    }

    /// The refusals of the recorded exchanges `errors/subscribe_*`.
    #[test]
    fn refusals_are_those_of_the_real_master() {
        let multi = r#""user":"root","name":"golden","capabilities":[{"type":"MULTI_ROLE"}]"#;
        let with = |rest: &str| format!("{{{multi},{rest}}}");
        check(
            &with(r#""roles":["a/../b"]"#),
            "'FrameworkInfo.roles' contains invalid role: Role 'a/../b' cannot include '..' as a component",
        );
        check(&with(r#""roles":["a","a"]"#), "'FrameworkInfo.roles' contains duplicate items: { a }");
        check(
            &with(r#""roles":["golden"],"failover_timeout":1e30"#),
            "The framework failover_timeout (1e+30) is invalid",
        );
        check(
            &with(r#""roles":["golden"],"role":"z""#),
            "'FrameworkInfo.role' must not be set when the framework is MULTI_ROLE capable",
        );
        check(
            r#"{"user":"root","name":"x","roles":["a"]}"#,
            "'FrameworkInfo.roles' must not be set when the framework is not MULTI_ROLE capable",
        );
        check(
            r#"{"user":"root","name":"x","role":"a b"}"#,
            "'FrameworkInfo.role' is not a valid role: Role component 'a b' is invalid because it contains \
             backspace or whitespace",
        );
        check(&with(r#""roles":[],"id":{"value":"a/b"}"#), "'a/b' contains invalid characters");
        check(&with(r#""roles":["*"]"#), "");
        check(&with(r#""roles":["golden"],"failover_timeout":-1.0"#), "");
        check(&with(r#""name2":1"#), "");
    }

    #[test]
    fn numbers_print_as_in_cpp() {
        for (number, text) in [(1e30, "1e+30"), (12_345_678_901.0, "1.23457e+10"), (-2.5e10, "-2.5e+10")] {
            assert_eq!(short(number), text);
        }
    }

    #[test]
    fn what_cannot_change() {
        let info = |user: &str, principal: Option<&str>, checkpoint: Option<bool>| FrameworkInfo {
            user: user.to_owned(),
            principal: principal.map(str::to_owned),
            checkpoint,
            ..FrameworkInfo::default()
        };
        let old = info("u", None, None);
        let check = |new: FrameworkInfo, text: &str| {
            assert_eq!(validate_update(&old, &new).err().unwrap_or_default(), text);
        };
        check(info("u", None, Some(false)), "");
        check(info("u", Some("p"), None), "Changing framework's principal is not allowed.");
        check(
            info("v", None, None),
            "Updating 'FrameworkInfo.user' is unsupported; attempted to update from 'u' to 'v'",
        );
        check(
            info("u", None, Some(true)),
            "Updating 'FrameworkInfo.checkpoint' is unsupported; attempted to update from 'false' to 'true'",
        );
    }
}
