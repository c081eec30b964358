//! What was meant by a name that there is none of.

/// The candidate that is most like `given`, if one is alike enough to be a slip of the hand.
#[must_use]
pub fn nearest<'a>(given: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let allowed = (given.chars().count() / 3).max(1);
    candidates
        .into_iter()
        .map(|candidate| (distance(given, candidate), candidate))
        .filter(|(distance, _)| *distance <= allowed)
        .min()
        .map(|(_, candidate)| candidate)
}

/// How many characters have to be added, left out, replaced, or swapped with their neighbour (optimal
/// string alignment distance).
fn distance(one: &str, other: &str) -> usize {
    let (one, other): (Vec<char>, Vec<char>) = (one.chars().collect(), other.chars().collect());
    let mut before: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=other.len()).collect();
    for (row, a) in one.iter().enumerate() {
        let mut line = vec![row + 1];
        for (column, b) in other.iter().enumerate() {
            let replaced = last[column] + usize::from(a != b);
            let mut best = replaced.min(last[column + 1] + 1).min(line[column] + 1);
            let is_swap = row > 0 && column > 0 && *a == other[column - 1] && one[row - 1] == *b;
            if is_swap {
                best = best.min(before[column - 1] + 1);
            }
            line.push(best);
        }
        before = std::mem::replace(&mut last, line);
    }
    last[other.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slips_are_recognised() {
        let check = |given, meant| {
            assert_eq!(nearest(given, ["/hello", "/hell", "/shop/cart", "/b"]), meant, "{given}");
        };
        check("/helo", Some("/hell"));
        check("/hello", Some("/hello"));
        check("/ehllo", Some("/hello"));
        check("/shop/crat", Some("/shop/cart"));
        check("/a", Some("/b"));
        check("/database", None);
        check("", None);
    }
}
