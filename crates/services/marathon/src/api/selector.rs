//! Label selectors of `GET /v2/apps?label=`.

use std::collections::BTreeMap;

/// What labels an app must have: `a`, `a==b`, `a!=b`, `a in (b, c)`, `a notin (b)`, joined by commas.
///
/// Marathon: `LabelSelectorParsers`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LabelSelector(Vec<Rule>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Rule {
    label: String,
    wants: Wants,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Wants {
    Any,
    OneOf(Vec<String>),
    NoneOf(Vec<String>),
}

impl LabelSelector {
    /// Reads a selector; the error says what was expected where.
    pub(crate) fn parse(text: &str) -> Result<LabelSelector, String> {
        let mut parser = Parser { rest: text.trim_start() };
        let mut rules = Vec::new();
        if !parser.rest.is_empty() {
            rules.push(parser.rule()?);
            while parser.take(",") {
                rules.push(parser.rule()?);
            }
        }
        if !parser.rest.is_empty() {
            return Err(format!("expected ',' or the end, found '{}'", parser.rest));
        }
        Ok(LabelSelector(rules))
    }

    /// Whether an app with these labels is meant. Every rule demands that the label is there.
    pub(crate) fn matches(&self, labels: &BTreeMap<String, String>) -> bool {
        self.0.iter().all(|rule| {
            labels.get(&rule.label).is_some_and(|value| match &rule.wants {
                Wants::Any => true,
                Wants::OneOf(values) => values.contains(value),
                Wants::NoneOf(values) => !values.contains(value),
            })
        })
    }
}

struct Parser<'t> {
    rest: &'t str,
}

impl Parser<'_> {
    fn rule(&mut self) -> Result<Rule, String> {
        let label = self.term()?;
        let wants = if self.take("==") {
            Wants::OneOf(vec![self.term()?])
        } else if self.take("!=") {
            Wants::NoneOf(vec![self.term()?])
        } else if self.take("notin") {
            Wants::NoneOf(self.set()?)
        } else if self.take("in") {
            Wants::OneOf(self.set()?)
        } else {
            Wants::Any
        };
        Ok(Rule { label, wants })
    }

    fn set(&mut self) -> Result<Vec<String>, String> {
        let mut terms = Vec::new();
        self.expect("(")?;
        if self.take(")") {
            return Ok(terms);
        }
        loop {
            terms.push(self.term()?);
            if !self.take(",") {
                self.expect(")")?;
                return Ok(terms);
            }
        }
    }

    /// Letters, digits, `-`, `_`, `.`, and whatever has a backslash before it.
    fn term(&mut self) -> Result<String, String> {
        let mut term = String::new();
        let mut chars = self.rest.chars();
        loop {
            let rest = chars.as_str();
            match chars.next() {
                Some('\\') => match chars.next() {
                    Some(escaped) => term.push(escaped),
                    None => return Err("expected a character after '\\'".to_owned()),
                },
                Some(c) if c.is_ascii_alphanumeric() || "-_.".contains(c) => term.push(c),
                _ if term.is_empty() => {
                    return Err(format!("expected a name or value, found '{rest}'"));
                }
                _ => {
                    self.rest = rest.trim_start();
                    return Ok(term);
                }
            }
        }
    }

    fn take(&mut self, token: &str) -> bool {
        match self.rest.strip_prefix(token) {
            Some(rest) => {
                self.rest = rest.trim_start();
                true
            }
            None => false,
        }
    }

    fn expect(&mut self, token: &str) -> Result<(), String> {
        if self.take(token) { Ok(()) } else { Err(format!("expected '{token}', found '{}'", self.rest)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn selectors_mean_what_they_say() {
        let labels: BTreeMap<String, String> =
            [("tier", "web"), ("env", "qa"), ("!x", "a b")].map(|(k, v)| (k.to_owned(), v.to_owned())).into();
        let check = |selector: &str, expected: bool| {
            assert_eq!(LabelSelector::parse(selector).unwrap().matches(&labels), expected, "{selector}");
        };
        for yes in [
            "",
            "tier",
            "tier==web",
            "tier == web",
            "env != production",
            "env in (production, qa)",
            "tier notin ()",
            " tier , env ",
            r"\!x==a\ b",
            "tier notin (db), env in (qa)",
        ] {
            check(yes, true);
        }
        for no in [
            "absent",
            "absent != x",
            "absent notin (x)",
            "tier==db",
            "env notin (qa)",
            "tier in ()",
            "tier, no",
        ] {
            check(no, false);
        }
    }

    #[test]
    fn what_is_no_selector() {
        for bad in ["==x", "a==", "a in", "a in (", "a in (b", "a b", "a,", "a=b", "a\\", "(a)"] {
            assert!(LabelSelector::parse(bad).is_err(), "{bad}");
        }
    }
}
