use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use mesos_proto::v1;

use crate::{Kind, Resources, Scalar, Value};

/// Amounts by name, whatever else their identity says; what is missing is zero, and zero is never kept.
/// What fairness and quotas compare. Mesos: `ResourceQuantities`.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Quantities(Vec<(Arc<str>, Scalar)>);

/// Upper bounds by name; what is missing is unlimited, and zero is a bound. Mesos: `ResourceLimits`.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Limits(Vec<(Arc<str>, Scalar)>);

/// Why a text or a message is no amounts.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs, reason = "each variant's text says what it is")]
pub enum InvalidQuantities {
    #[error("Failed to parse '{0}': missing or extra ':'")]
    NoColon(String),
    #[error("Failed to parse '{0}' to quantity: expected a number such as 4 or 0.5")]
    NoNumber(String),
    #[error("Failed to parse '{0}' to quantity: negative values are not allowed")]
    Negative(String),
    #[error("{name}: {value} is not between 0 and {max}", max = Scalar::MAX)]
    Amount { name: String, value: String },
}

impl Quantities {
    /// Nothing.
    pub const fn new() -> Self {
        Self(Vec::new())
    }

    /// The sums of the scalars by name; numbers and items do not count.
    pub fn of(resources: &Resources) -> Self {
        let mut sums = Self::new();
        sums.add_resources(resources);
        sums
    }

    /// Reads what quotas are told in. Zero is nothing.
    ///
    /// # Errors
    /// Names the amount that is not a number between 0 and [`Scalar::MAX`].
    pub fn from_proto(amounts: &BTreeMap<String, v1::value::Scalar>) -> Result<Self, InvalidQuantities> {
        let mut sums = Self::new();
        for (name, amount) in amounts {
            sums.add_amount(name, amount_of(name, amount.value)?);
        }
        Ok(sums)
    }

    /// The form that quotas are told in.
    pub fn to_proto(&self) -> BTreeMap<String, v1::value::Scalar> {
        to_proto(&self.0)
    }

    /// Reads `cpus:0.01;mem:32`. Amounts of the same name add up (Mesos: `ResourceQuantities::fromString`).
    ///
    /// # Errors
    /// Names the part that is wrong.
    pub fn parse(text: &str) -> Result<Self, InvalidQuantities> {
        let mut sums = Self::new();
        for entry in text.split(';').filter(|entry| !entry.is_empty()) {
            let parts: Vec<&str> = entry.split(':').filter(|part| !part.is_empty()).collect();
            let [name, value] = parts[..] else {
                return Err(InvalidQuantities::NoColon(entry.to_owned()));
            };
            let amount: f64 =
                value.trim().parse().map_err(|_| InvalidQuantities::NoNumber(value.to_owned()))?;
            if amount < 0.0 {
                return Err(InvalidQuantities::Negative(value.to_owned()));
            }
            sums.add_amount(name.trim(), amount_of(name.trim(), amount)?);
        }
        Ok(sums)
    }

    /// Whether all is zero.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The amount of `name`.
    pub fn get(&self, name: &str) -> Scalar {
        self.0.iter().find(|(known, _)| **known == *name).map_or(Scalar::ZERO, |(_, amount)| *amount)
    }

    /// Names and amounts, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, Scalar)> {
        self.0.iter().map(|(name, amount)| (&**name, *amount))
    }

    /// Adds all of `other`.
    pub fn add(&mut self, other: &Quantities) {
        for (name, amount) in &other.0 {
            self.change(name, *amount, || Arc::clone(name));
        }
    }

    /// Adds so much of `name`; a negative amount takes away.
    pub fn add_amount(&mut self, name: &str, amount: Scalar) {
        self.change(name, amount, || Arc::from(name));
    }

    /// Adds the scalars. Allocates only for names that are new.
    pub fn add_resources(&mut self, resources: &Resources) {
        for (name, amount) in resources.scalar_quantities() {
            self.change(name, amount, || Arc::from(name));
        }
    }

    /// Takes away what is there of `other`.
    pub fn subtract(&mut self, other: &Quantities) {
        for (name, amount) in &other.0 {
            self.change(name, Scalar::ZERO.minus(*amount), || Arc::clone(name));
        }
    }

    /// Takes away what is there of the scalars.
    pub fn subtract_resources(&mut self, resources: &Resources) {
        for (name, amount) in resources.scalar_quantities() {
            self.change(name, Scalar::ZERO.minus(amount), || Arc::from(name));
        }
    }

    /// Whether there is at least as much of everything as in `other`.
    pub fn contains(&self, other: &Quantities) -> bool {
        other.0.iter().all(|(name, amount)| self.get(name) >= *amount)
    }

    fn change(&mut self, name: &str, by: Scalar, key: impl FnOnce() -> Arc<str>) {
        match self.0.binary_search_by(|(known, _)| (**known).cmp(name)) {
            Ok(at) => {
                let sum = self.0[at].1.plus(by);
                if sum > Scalar::ZERO {
                    self.0[at].1 = sum;
                } else {
                    self.0.remove(at);
                }
            }
            Err(at) if by > Scalar::ZERO => self.0.insert(at, (key(), by)),
            Err(_) => {}
        }
    }
}

impl Limits {
    /// No bounds.
    pub const fn new() -> Self {
        Self(Vec::new())
    }

    /// Reads what quotas are told in. Zero is a bound.
    ///
    /// # Errors
    /// Names the amount that is not a number between 0 and [`Scalar::MAX`].
    pub fn from_proto(amounts: &BTreeMap<String, v1::value::Scalar>) -> Result<Self, InvalidQuantities> {
        let limits = amounts
            .iter()
            .map(|(name, amount)| Ok((Arc::from(name.as_str()), amount_of(name, amount.value)?)));
        Ok(Self(limits.collect::<Result<_, _>>()?))
    }

    /// The form that quotas are told in.
    pub fn to_proto(&self) -> BTreeMap<String, v1::value::Scalar> {
        to_proto(&self.0)
    }

    /// Whether nothing is limited.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The bound of `name`, if it has one.
    pub fn get(&self, name: &str) -> Option<Scalar> {
        self.0.iter().find(|(known, _)| **known == *name).map(|(_, limit)| *limit)
    }

    /// Names and bounds, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, Scalar)> {
        self.0.iter().map(|(name, limit)| (&**name, *limit))
    }

    /// Bounds `name`, or moves its bound.
    pub fn set(&mut self, name: &str, limit: Scalar) {
        match self.0.binary_search_by(|(known, _)| (**known).cmp(name)) {
            Ok(at) => self.0[at].1 = limit,
            Err(at) => self.0.insert(at, (Arc::from(name), limit)),
        }
    }

    /// Whether `amounts` are within the bounds.
    pub fn contains(&self, amounts: &Quantities) -> bool {
        self.0.iter().all(|(name, limit)| amounts.get(name) <= *limit)
    }

    /// What the bounds leave if `used` is gone already; never below zero.
    #[must_use]
    pub fn left(&self, used: &Quantities) -> Limits {
        let left = |limit: Scalar, name: &str| limit.minus(used.get(name)).max(Scalar::ZERO);
        Self(self.0.iter().map(|(name, limit)| (Arc::clone(name), left(*limit, name))).collect())
    }

    /// Cuts amounts down to the bounds.
    pub fn cap(&self, amounts: &mut Quantities) {
        for (name, amount) in &mut amounts.0 {
            if let Some(limit) = self.get(name) {
                *amount = (*amount).min(limit);
            }
        }
        amounts.0.retain(|(_, amount)| *amount > Scalar::ZERO);
    }
}

/// Amounts as bounds: exactly so much and no more, where there is any.
impl From<&Quantities> for Limits {
    fn from(amounts: &Quantities) -> Self {
        Self(amounts.0.clone())
    }
}

impl Resources {
    /// Cuts these down to `limits`, resource by resource in their order: of scalars so much goes as is too
    /// much; what cannot be divided stays whole or goes. Numbers and items are not limited.
    /// Mesos: `shrinkResources` in src/master/allocator/mesos/hierarchical.cpp.
    #[must_use]
    pub fn capped(&self, limits: &Limits) -> Resources {
        let mut left: Vec<(&str, Scalar)> = limits.iter().collect();
        let mut kept = Resources::new();
        for resource in self {
            let bound = left.iter_mut().find(|(name, _)| *name == resource.name());
            let (Some((_, left)), Value::Scalar(amount)) = (bound, resource.value()) else {
                kept.push(resource.clone());
                continue;
            };
            let part = (*amount).min(*left);
            if part == *amount {
                kept.push(resource.clone());
            } else if part > Scalar::ZERO && !resource.is_indivisible() {
                kept.push(resource.of_value(Value::Scalar(part)));
            } else {
                continue;
            }
            *left = left.minus(part);
        }
        kept
    }

    /// The scalars.
    #[must_use]
    pub fn scalars(&self) -> Resources {
        self.filter(|identity| identity.kind == Kind::Scalar)
    }
}

fn amount_of(name: &str, value: f64) -> Result<Scalar, InvalidQuantities> {
    let amount = Scalar::from_f64(value).filter(|amount| *amount >= Scalar::ZERO);
    amount.ok_or_else(|| InvalidQuantities::Amount { name: name.to_owned(), value: value.to_string() })
}

fn to_proto(amounts: &[(Arc<str>, Scalar)]) -> BTreeMap<String, v1::value::Scalar> {
    amounts
        .iter()
        .map(|(name, amount)| ((**name).to_owned(), v1::value::Scalar { value: amount.to_f64() }))
        .collect()
}

/// As Mesos prints it: `cpus:4; disk:10240; mem:4096`, and `{}` for nothing.
impl fmt::Display for Quantities {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_amounts(&self.0, f)
    }
}

/// As Mesos prints it: `cpus:4; mem:4096`, and `{}` for no bounds.
impl fmt::Display for Limits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_amounts(&self.0, f)
    }
}

fn write_amounts(amounts: &[(Arc<str>, Scalar)], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    if amounts.is_empty() {
        return f.write_str("{}");
    }
    for (i, (name, amount)) in amounts.iter().enumerate() {
        let separator = if i > 0 { "; " } else { "" };
        write!(f, "{separator}{name}:{amount}")?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn some(text: &str) -> Quantities {
        Quantities::parse(text).unwrap()
    }

    fn limits(text: &str) -> Limits {
        Limits::from(&some(text))
    }

    #[test]
    fn amounts_read_and_print_as_in_mesos() {
        let check = |text: &str, printed: &str| assert_eq!(some(text).to_string(), printed, "{text}");
        check("mem:4096;cpus:4;disk:10240", "cpus:4; disk:10240; mem:4096");
        check(" cpus : 0.01 ; mem:0", "cpus:0.01");
        check("cpus:1;cpus:2", "cpus:3");
        check("", "{}");
        let refuse = |text: &str, said: &str| {
            let error = Quantities::parse(text).unwrap_err().to_string();
            assert_eq!(error, said, "{text}");
        };
        refuse("cpus", "Failed to parse 'cpus': missing or extra ':'");
        refuse("cpus:1:2", "Failed to parse 'cpus:1:2': missing or extra ':'");
        refuse("cpus:[1-2]", "Failed to parse '[1-2]' to quantity: expected a number such as 4 or 0.5");
        refuse("cpus:-1", "Failed to parse '-1' to quantity: negative values are not allowed");
        refuse("cpus:NaN", "cpus: NaN is not between 0 and 1000000000000");
    }

    #[test]
    fn amounts_stop_at_zero_and_forget_it() {
        let mut sum = some("cpus:1;mem:10");
        sum.subtract(&some("cpus:2;disk:5"));
        assert_eq!(sum, some("mem:10"));
        sum.add_resources(&Resources::parse("cpus:1;cpus(a):2;ports:[1-9]").unwrap());
        assert_eq!(sum, some("cpus:3;mem:10"));
        sum.subtract_resources(&Resources::parse("cpus:3;mem:1").unwrap());
        assert_eq!(sum, some("mem:9"));
        assert!(sum.contains(&some("mem:9")) && !sum.contains(&some("mem:9;cpus:0.001")));
    }

    #[test]
    fn what_has_no_limit_is_unlimited() {
        let bounds = limits("cpus:2;mem:10");
        assert!(bounds.contains(&some("cpus:2;disk:1000")));
        assert!(!bounds.contains(&some("cpus:2.001")));
        assert_eq!(bounds.left(&some("cpus:3;mem:4")).get("cpus"), Some(Scalar::ZERO));
        let mut amounts = some("cpus:5;disk:7;mem:3");
        bounds.left(&some("cpus:2")).cap(&mut amounts);
        assert_eq!(amounts, some("disk:7;mem:3"));
        let zero = BTreeMap::from([("cpus".to_owned(), v1::value::Scalar { value: 0.0 })]);
        assert!(!Limits::from_proto(&zero).unwrap().contains(&some("cpus:0.001")));
        assert!(Quantities::from_proto(&zero).unwrap().is_empty());
    }

    #[test]
    fn what_cannot_be_divided_stays_whole_or_goes() {
        let mount = r#"[{"name":"disk","type":"SCALAR","scalar":{"value":100},
            "disk":{"source":{"type":"MOUNT","mount":{"root":"/mnt"}}}}]"#;
        let mut all = Resources::parse("cpus:4;mem:64;ports:[1-9]").unwrap();
        all += &Resources::from_json(mount).unwrap();
        let check = |bounds: &str, kept: &str| {
            assert_eq!(Quantities::of(&all.capped(&limits(bounds))), some(kept), "{bounds}");
        };
        check("cpus:1.5", "cpus:1.5;mem:64;disk:100");
        check("disk:99", "cpus:4;mem:64");
        check("disk:100;mem:32", "cpus:4;mem:32;disk:100");
        assert_eq!(all.capped(&limits("cpus:1")).ports().count(), 9);
    }
}
