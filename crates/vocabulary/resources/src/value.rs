use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use crate::Ranges;

/// An exact amount of a scalar resource in thousandths. Mesos keeps three decimals, too, but computes
/// in floating point between roundings.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Scalar(i64);

impl Scalar {
    /// Nothing.
    pub const ZERO: Scalar = Scalar(0);

    /// The largest amount that is read from outside: 10^12 units. Sums saturate far above it.
    pub const MAX: Scalar = Scalar(1_000_000_000_000_000);

    /// From thousandths of the unit.
    pub const fn from_thousandths(thousandths: i64) -> Self {
        Self(thousandths)
    }

    /// From whole units.
    pub const fn from_units(units: i64) -> Self {
        Self(units.saturating_mul(1000))
    }

    /// The nearest amount, halves away from zero; `None` for what is no number or beyond ±[`Scalar::MAX`].
    pub fn from_f64(value: f64) -> Option<Self> {
        let thousandths = (value * 1000.0).round();
        if thousandths.is_finite() && thousandths.abs() <= Self::MAX.0 as f64 {
            Some(Self(thousandths as i64))
        } else {
            None
        }
    }

    /// In thousandths of the unit.
    pub const fn thousandths(self) -> i64 {
        self.0
    }

    /// In units; the double nearest to the exact amount, which is what Mesos writes.
    pub fn to_f64(self) -> f64 {
        self.0 as f64 / 1000.0
    }

    /// The sum; saturates.
    #[must_use]
    pub const fn plus(self, other: Scalar) -> Scalar {
        Scalar(self.0.saturating_add(other.0))
    }

    /// The difference; saturates, and may be negative.
    #[must_use]
    pub const fn minus(self, other: Scalar) -> Scalar {
        Scalar(self.0.saturating_sub(other.0))
    }
}

/// Without needless zeros: `4`, `0.1`, `0.025`.
impl fmt::Display for Scalar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.0 < 0 { "-" } else { "" };
        let (whole, fraction) = (self.0.unsigned_abs() / 1000, self.0.unsigned_abs() % 1000);
        if fraction == 0 {
            return write!(f, "{sign}{whole}");
        }
        let digits = format!("{fraction:03}");
        write!(f, "{sign}{whole}.{}", digits.trim_end_matches('0'))
    }
}

/// What kind of value a resource has. Part of its identity: a scalar `x` and a set `x` never mix.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// An amount, such as `cpus`.
    Scalar,
    /// Numbers, such as `ports`.
    Ranges,
    /// Named items.
    Set,
}

/// How much of a resource.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Value {
    /// An amount.
    Scalar(Scalar),
    /// Numbers.
    Ranges(Ranges),
    /// Named items.
    Set(BTreeSet<Arc<str>>),
}

impl Value {
    /// Which kind of value this is.
    pub fn kind(&self) -> Kind {
        match self {
            Value::Scalar(_) => Kind::Scalar,
            Value::Ranges(_) => Kind::Ranges,
            Value::Set(_) => Kind::Set,
        }
    }

    /// Whether this is nothing at all.
    pub fn is_empty(&self) -> bool {
        match self {
            Value::Scalar(amount) => *amount == Scalar::ZERO,
            Value::Ranges(ranges) => ranges.is_empty(),
            Value::Set(items) => items.is_empty(),
        }
    }

    /// Whether `other` is part of this. Values of different kinds contain nothing of each other.
    pub fn contains(&self, other: &Value) -> bool {
        match (self, other) {
            (Value::Scalar(have), Value::Scalar(want)) => want <= have,
            (Value::Ranges(have), Value::Ranges(want)) => have.contains(want),
            (Value::Set(have), Value::Set(want)) => have.is_superset(want),
            _ => false,
        }
    }

    /// How much this counts where amounts are compared: the amount, or the number of numbers or items.
    pub fn quantity(&self) -> Scalar {
        match self {
            Value::Scalar(amount) => *amount,
            Value::Ranges(ranges) => Scalar::from_units(i64::try_from(ranges.count()).unwrap_or(i64::MAX)),
            Value::Set(items) => Scalar::from_units(items.len() as i64),
        }
    }

    pub(crate) fn add(&mut self, other: &Value) {
        match (self, other) {
            (Value::Scalar(have), Value::Scalar(more)) => *have = have.plus(*more),
            (Value::Ranges(have), Value::Ranges(more)) => *have = have.union(more),
            (Value::Set(have), Value::Set(more)) => have.extend(more.iter().cloned()),
            _ => unreachable!("the kind is part of the identity"),
        }
    }

    /// Takes away what is there of `other`; a scalar stops at zero.
    pub(crate) fn subtract(&mut self, other: &Value) {
        match (self, other) {
            (Value::Scalar(have), Value::Scalar(less)) => *have = have.minus(*less).max(Scalar::ZERO),
            (Value::Ranges(have), Value::Ranges(less)) => *have = have.difference(less),
            (Value::Set(have), Value::Set(less)) => have.retain(|item| !less.contains(item)),
            _ => unreachable!("the kind is part of the identity"),
        }
    }
}

/// As Mesos prints it: `4`, `[31000-32000]`, `{a, b}`.
impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::Scalar(amount) => amount.fmt(f),
            Value::Ranges(ranges) => ranges.fmt(f),
            Value::Set(items) => {
                f.write_str("{")?;
                for (i, item) in items.iter().enumerate() {
                    let comma = if i > 0 { ", " } else { "" };
                    write!(f, "{comma}{item}")?;
                }
                f.write_str("}")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scalars_round_to_thousandths_and_print_short() {
        let check = |value: f64, thousandths: i64, text: &str| {
            let scalar = Scalar::from_f64(value).unwrap();
            assert_eq!(scalar.thousandths(), thousandths, "{value}");
            assert_eq!(scalar.to_string(), text);
        };
        check(0.1 + 0.2, 300, "0.3");
        check(4.0, 4000, "4");
        check(0.0005, 1, "0.001");
        check(0.0004, 0, "0");
        check(10_240.25, 10_240_250, "10240.25");
        check(-1.5, -1500, "-1.5");
        for value in [f64::NAN, f64::INFINITY, 1e300, -1e13] {
            assert_eq!(Scalar::from_f64(value), None, "{value}");
        }
    }
}
