use std::sync::Arc;

use crate::role::{self, RoleError};
use crate::{Identity, Ranges, Reservation, ReservationKind, Resource, Resources, Scalar, Value};

/// Why a text names no resources. Nothing was read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs, reason = "each variant's text says what it is")]
pub enum ParseResourcesError {
    #[error("Bad value for resources, missing or extra ':' in {0}")]
    NoColon(String),
    #[error("Bad value for resources, mismatched parentheses in {0}")]
    Parentheses(String),
    #[error("resource '{0}' has no name")]
    NoName(String),
    #[error("resource '{name}': {source}")]
    Role { name: String, source: RoleError },
    #[error(
        "Failed to parse resource {name} value {value}: expected a number such as 4 or 0.5, \
         ranges such as [31000-32000], or a set such as {{a,b}}"
    )]
    Value { name: String, value: String },
    #[error("resource {name}: '{value}' is not between 0 and {max}", max = Scalar::MAX)]
    Amount { name: String, value: String },
}

impl Resources {
    /// Reads Mesos' text form, as in `--resources`: entries `name:value` or `name(role):value` separated
    /// by `;`, where a value is a number, `[begin-end,...]` or `{item,...}`. A role makes it a static
    /// reservation (Mesos: `Resources::fromSimpleString`).
    ///
    /// # Errors
    /// Names the entry that is wrong.
    pub fn parse(text: &str) -> Result<Resources, ParseResourcesError> {
        text.split(';').map(str::trim).filter(|entry| !entry.is_empty()).map(parse_entry).collect()
    }
}

fn parse_entry(entry: &str) -> Result<Resource, ParseResourcesError> {
    let (key, value) = entry
        .split_once(':')
        .filter(|(_, value)| !value.contains(':') && !value.trim().is_empty())
        .ok_or_else(|| ParseResourcesError::NoColon(entry.to_owned()))?;
    let (name, role) = match key.split_once('(') {
        None if key.contains(')') => return Err(ParseResourcesError::Parentheses(entry.to_owned())),
        None => (key.trim(), "*"),
        Some((name, rest)) => {
            let role = rest.trim_end().strip_suffix(')').filter(|role| !role.contains(['(', ')']));
            let role = role.ok_or_else(|| ParseResourcesError::Parentheses(entry.to_owned()))?;
            (name.trim(), role.trim())
        }
    };
    if name.is_empty() {
        return Err(ParseResourcesError::NoName(entry.to_owned()));
    }
    role::validate(role).map_err(|source| ParseResourcesError::Role { name: name.to_owned(), source })?;
    let value = parse_value(name, value)?;
    let mut identity = Identity::plain(name, value.kind());
    if role != "*" {
        identity.reservations.push(Reservation {
            kind: ReservationKind::Static,
            role: Arc::from(role),
            principal: None,
            labels: None,
        });
    }
    Ok(Resource::new(identity, value))
}

fn parse_value(name: &str, text: &str) -> Result<Value, ParseResourcesError> {
    let text = text.trim();
    let wrong = || ParseResourcesError::Value { name: name.to_owned(), value: text.to_owned() };
    if let Some(inner) = text.strip_prefix('[') {
        let inner = inner.strip_suffix(']').ok_or_else(wrong)?;
        let intervals: Option<Vec<_>> = items(inner).map(parse_interval).collect();
        return Ok(Value::Ranges(Ranges::from_intervals(intervals.ok_or_else(wrong)?)));
    }
    if let Some(inner) = text.strip_prefix('{') {
        let inner = inner.strip_suffix('}').filter(|inner| !inner.contains(['{', '}'])).ok_or_else(wrong)?;
        return Ok(Value::Set(items(inner).map(Arc::from).collect()));
    }
    let amount: f64 = text.parse().map_err(|_| wrong())?;
    let scalar = Scalar::from_f64(amount).filter(|_| amount >= 0.0);
    let too_small = amount != 0.0 && scalar == Some(Scalar::ZERO);
    scalar
        .filter(|_| !too_small)
        .map(Value::Scalar)
        .ok_or_else(|| ParseResourcesError::Amount { name: name.to_owned(), value: text.to_owned() })
}

fn items(list: &str) -> impl Iterator<Item = &str> {
    list.split(',').map(str::trim).filter(|item| !item.is_empty())
}

fn parse_interval(text: &str) -> Option<(u64, u64)> {
    let (begin, end) = text.split_once('-').unwrap_or((text, text));
    let (begin, end) = (begin.trim().parse().ok()?, end.trim().parse().ok()?);
    (begin <= end).then_some((begin, end))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_mesos_prints_without_roles() {
        let check =
            |text: &str, printed: &str| assert_eq!(Resources::parse(text).unwrap().to_string(), printed);
        check(
            "cpus:4;mem:1024;ports:[31000-32000];disk:1000",
            "ports:[31000-32000]; cpus:4; mem:1024; disk:1000",
        );
        check(" cpus : 0.5 ; ; zones:{ b, a }", "cpus:0.5; zones:{a, b}");
        check("cpus(slave_public):1", "cpus(reservations: [(STATIC,slave_public)]):1");
        check("cpus(*):1;cpus:2", "cpus:3");
        check("ports:[1-2, 3-4,9-9]", "ports:[1-4, 9-9]");
        check("ports:[5]", "ports:[5-5]");
        check("", "{}");
        check("cpus:0", "{}");
    }

    #[test]
    fn refusals_name_the_entry() {
        let check = |text: &str, said: &str| {
            let error = Resources::parse(text).unwrap_err().to_string();
            assert!(error.contains(said), "{text}: {error}");
        };
        check("cpus", "Bad value for resources, missing or extra ':' in cpus");
        check("cpus:1:2", "missing or extra ':' in cpus:1:2");
        check("cpus:", "missing or extra ':'");
        check("cpus(a:1", "mismatched parentheses in cpus(a:1");
        check("cpus)a(:1", "mismatched parentheses");
        check(":1", "has no name");
        check("cpus(a b):1", "Role component 'a b'");
        check("cpus():1", "Role names cannot be the empty string");
        check("mem:lots", "Failed to parse resource mem value lots");
        check("ports:[1-2", "Failed to parse resource ports");
        check("ports:[2-1]", "Failed to parse resource ports");
        check("ports:[-1-4]", "Failed to parse resource ports");
        check("zones:{a", "Failed to parse resource zones");
        check("cpus:-1", "resource cpus: '-1' is not between 0 and 1000000000000");
        check("cpus:0.0001", "resource cpus: '0.0001' is not");
        check("mem:inf", "resource mem: 'inf' is not");
        check("mem:NaN", "resource mem: 'NaN' is not");
        check("mem:1e40", "resource mem: '1e40' is not");
    }
}
