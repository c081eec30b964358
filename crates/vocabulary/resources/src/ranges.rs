use std::fmt;

/// A set of whole numbers as closed intervals, as Mesos writes ports: `[31000-31999, 32005-32005]`.
///
/// The intervals are sorted, disjoint and never adjacent, so that equal sets have equal intervals.
/// All operations are linear in the number of intervals.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ranges(Vec<(u64, u64)>);

impl Ranges {
    /// No numbers.
    pub fn new() -> Self {
        Self::default()
    }

    /// The numbers of one closed interval; none if `begin > end`.
    pub fn interval(begin: u64, end: u64) -> Self {
        if begin > end { Self::new() } else { Self(vec![(begin, end)]) }
    }

    /// The union of closed intervals given in any order; those with `begin > end` are empty.
    pub fn from_intervals(intervals: impl IntoIterator<Item = (u64, u64)>) -> Self {
        let mut sorted: Vec<_> = intervals.into_iter().filter(|(begin, end)| begin <= end).collect();
        sorted.sort_unstable();
        Self::coalesce(sorted)
    }

    /// The union of closed intervals in ascending order of their begins.
    fn coalesce(sorted: impl IntoIterator<Item = (u64, u64)>) -> Self {
        let sorted = sorted.into_iter();
        let mut merged: Vec<(u64, u64)> = Vec::with_capacity(sorted.size_hint().0);
        for (begin, end) in sorted {
            match merged.last_mut() {
                Some(last) if begin <= last.1.saturating_add(1) => last.1 = last.1.max(end),
                _ => merged.push((begin, end)),
            }
        }
        Self(merged)
    }

    /// Whether there are no numbers.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many numbers there are; `u64::MAX` if there are more than that.
    pub fn count(&self) -> u64 {
        self.0.iter().fold(0u64, |sum, (begin, end)| sum.saturating_add((end - begin).saturating_add(1)))
    }

    /// The closed intervals, ascending.
    pub fn intervals(&self) -> &[(u64, u64)] {
        &self.0
    }

    /// The numbers, ascending.
    pub fn numbers(&self) -> impl Iterator<Item = u64> + '_ {
        self.0.iter().flat_map(|&(begin, end)| begin..=end)
    }

    /// Whether `number` is one of these.
    pub fn has(&self, number: u64) -> bool {
        let after = self.0.partition_point(|&(begin, _)| begin <= number);
        after > 0 && self.0[after - 1].1 >= number
    }

    /// Whether every number of `other` is one of these.
    pub fn contains(&self, other: &Ranges) -> bool {
        let mut mine = self.0.iter().peekable();
        other.0.iter().all(|&(begin, end)| {
            while mine.next_if(|have| have.1 < begin).is_some() {}
            mine.peek().is_some_and(|have| have.0 <= begin && end <= have.1)
        })
    }

    /// The numbers that are in one or the other.
    pub fn union(&self, other: &Ranges) -> Ranges {
        let (mut a, mut b) = (self.0.iter().peekable(), other.0.iter().peekable());
        Self::coalesce(std::iter::from_fn(|| match (a.peek(), b.peek()) {
            (Some(first), Some(second)) if second < first => b.next().copied(),
            (Some(_), _) => a.next().copied(),
            (None, _) => b.next().copied(),
        }))
    }

    /// The numbers that are in both.
    pub fn intersection(&self, other: &Ranges) -> Ranges {
        let (mut i, mut j) = (0, 0);
        let mut both = Vec::new();
        while let (Some(a), Some(b)) = (self.0.get(i), other.0.get(j)) {
            let (begin, end) = (a.0.max(b.0), a.1.min(b.1));
            if begin <= end {
                both.push((begin, end));
            }
            if a.1 < b.1 { i += 1 } else { j += 1 }
        }
        Self(both)
    }

    /// The numbers of these that are not in `other`.
    pub fn difference(&self, other: &Ranges) -> Ranges {
        let mut rest = Vec::new();
        let mut holes = other.0.iter().peekable();
        for &(begin, end) in &self.0 {
            while holes.next_if(|hole| hole.1 < begin).is_some() {}
            let mut from = Some(begin);
            while let (Some(start), Some(hole)) = (from, holes.peek().filter(|hole| hole.0 <= end)) {
                if hole.0 > start {
                    rest.push((start, hole.0 - 1));
                }
                from = hole.1.checked_add(1).filter(|&next| next <= end);
                if from.is_some() {
                    holes.next();
                }
            }
            if let Some(start) = from {
                rest.push((start, end));
            }
        }
        Self(rest)
    }
}

impl FromIterator<u64> for Ranges {
    fn from_iter<I: IntoIterator<Item = u64>>(numbers: I) -> Self {
        Self::from_intervals(numbers.into_iter().map(|number| (number, number)))
    }
}

/// As Mesos prints it: `[1-4, 7-7]`.
impl fmt::Display for Ranges {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[")?;
        for (i, (begin, end)) in self.0.iter().enumerate() {
            let comma = if i > 0 { ", " } else { "" };
            write!(f, "{comma}{begin}-{end}")?;
        }
        f.write_str("]")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn numbers() -> impl Strategy<Value = BTreeSet<u64>> {
        let low = proptest::collection::btree_set(0u64..40, 0..24);
        let high = proptest::collection::btree_set(u64::MAX - 6..=u64::MAX, 0..5);
        (low, high).prop_map(|(low, high)| &low | &high)
    }

    fn ranges(numbers: &BTreeSet<u64>) -> Ranges {
        numbers.iter().copied().collect()
    }

    proptest! {
        #[test]
        fn agrees_with_sets_of_numbers(a in numbers(), b in numbers()) {
            let (x, y) = (ranges(&a), ranges(&b));
            prop_assert_eq!(x.numbers().collect::<BTreeSet<_>>(), a.clone());
            prop_assert_eq!(x.union(&y), ranges(&(&a | &b)));
            prop_assert_eq!(x.intersection(&y), ranges(&(&a & &b)));
            prop_assert_eq!(x.difference(&y), ranges(&(&a - &b)));
            prop_assert_eq!(x.contains(&y), a.is_superset(&b));
            prop_assert_eq!(x.count(), a.len() as u64);
            for number in (0..41).chain(u64::MAX - 7..=u64::MAX) {
                prop_assert_eq!(x.has(number), a.contains(&number));
            }
        }
    }

    #[test]
    fn prints_as_mesos() {
        assert_eq!(Ranges::from_intervals([(7, 7), (1, 2), (3, 4), (9, 8)]).to_string(), "[1-4, 7-7]");
        assert_eq!(Ranges::new().to_string(), "[]");
        assert_eq!(Ranges::interval(0, u64::MAX).count(), u64::MAX);
    }
}
