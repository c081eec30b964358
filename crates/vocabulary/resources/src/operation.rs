use crate::{NotContained, Resources};

/// What an operation makes of resources: it takes `consumed` and leaves `converted` in its place.
/// Mesos: `ResourceConversion`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conversion {
    /// What there must be.
    pub consumed: Resources,
    /// What there is instead afterwards.
    pub converted: Resources,
}

impl Conversion {
    /// The same of resources that are allocated to nobody.
    #[must_use]
    pub fn unallocated(&self) -> Conversion {
        Conversion { consumed: self.consumed.unallocated(), converted: self.converted.unallocated() }
    }
}

impl Resources {
    /// Converts one after the other, so that a later one may take what an earlier one left.
    ///
    /// # Errors
    /// Changes nothing if one of them does not find what it takes.
    pub fn apply(&mut self, conversions: &[Conversion]) -> Result<(), NotContained> {
        let mut result = self.clone();
        for Conversion { consumed, converted } in conversions {
            result.subtract(consumed)?;
            result += converted;
        }
        *self = result;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conversions_are_all_done_or_none() {
        let parse = |text: &str| Resources::parse(text).unwrap();
        let conversion = |consumed: &str, converted: &str| Conversion {
            consumed: parse(consumed),
            converted: parse(converted),
        };
        let mut have = parse("cpus:2;mem:10");
        have.apply(&[conversion("cpus:1", "cpus(a):1"), conversion("cpus(a):1", "cpus(a/b):1")]).unwrap();
        assert_eq!(have, parse("cpus:1;mem:10;cpus(a/b):1"));
        let before = have.clone();
        let error = have.apply(&[conversion("cpus:1", "cpus(a):1"), conversion("mem:11", "mem(a):11")]);
        assert_eq!(error.unwrap_err().want, parse("mem:11"));
        assert_eq!(have, before);
    }
}
