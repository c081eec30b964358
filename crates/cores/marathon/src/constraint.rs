use std::collections::BTreeMap;

use api_marathon::{Constraint, Operator};
use mesos_proto::v1::{Attribute, Offer, value};

use crate::instance::Placement;

/// Whether an offer's agent fits a constraint, given where the app's other instances are and how many are wanted.
///
/// Marathon: `Constraints.meetsConstraint`.
pub(crate) fn is_met(constraint: &Constraint, offer: &Offer, placed: &[&Placement], wanted: u32) -> bool {
    let Some(offered) = of_offer(&constraint.field, offer) else {
        // An agent without the attribute is like nothing and unlike everything.
        return constraint.operator == Operator::Unlike;
    };
    let value = constraint.value.as_deref().unwrap_or("");
    let of_placed = || placed.iter().map(|placement| of_placement(&constraint.field, placement));
    match constraint.operator {
        Operator::Unique => of_placed().all(|other| other.as_deref() != Some(&*offered)),
        Operator::Cluster if value.is_empty() => {
            of_placed().next().is_none_or(|first| first.as_ref() == Some(&offered))
        }
        Operator::Cluster => offered == value,
        Operator::Is => offered == normal_number(value),
        Operator::Like => is_like(&offered, value),
        Operator::Unlike => !value.is_empty() && !is_like(&offered, value),
        Operator::MaxPer => {
            let here = of_placed().filter(|other| other.as_ref() == Some(&offered)).count();
            value.parse().is_ok_and(|max: usize| here < max)
        }
        Operator::GroupBy => group_has_room(&offered, value, of_placed(), wanted as usize),
    }
}

/// Spreads `wanted` instances evenly over the groups: as many as are named, or else as many as are known.
fn group_has_room(
    offered: &str,
    value: &str,
    placed: impl Iterator<Item = Option<String>>,
    wanted: usize,
) -> bool {
    let mut groups: BTreeMap<String, usize> = BTreeMap::new();
    for group in placed.flatten() {
        *groups.entry(group).or_default() += 1;
    }
    let here = groups.get(offered).copied();
    match value.parse::<usize>() {
        Ok(count) if count > 0 => {
            let (each, rest) = (wanted / count, wanted % count);
            let rest_used: usize = groups.values().map(|size| size.saturating_sub(each)).sum();
            match here {
                Some(here) => here < each || (here == each && rest_used < rest),
                None => groups.len() < count,
            }
        }
        // Without a number of groups nothing says that there is another; the smallest known one gets the next.
        _ => here.is_none_or(|here| groups.values().all(|size| here <= *size)),
    }
}

fn is_like(offered: &str, pattern: &str) -> bool {
    !pattern.is_empty()
        && regex_lite::Regex::new(&format!("^(?:{pattern})$")).is_ok_and(|regex| regex.is_match(offered))
}

fn of_offer(field: &str, offer: &Offer) -> Option<String> {
    match field {
        "hostname" | "@hostname" => Some(offer.hostname.clone()),
        "@region" => region(offer),
        "@zone" => zone(offer),
        name => offer.attributes.iter().find(|attribute| attribute.name == name).map(text),
    }
}

fn of_placement(field: &str, placement: &Placement) -> Option<String> {
    match field {
        "hostname" | "@hostname" => Some(placement.host.clone()),
        "@region" => placement.region.clone(),
        "@zone" => placement.zone.clone(),
        name => placement.attributes.iter().find(|(known, _)| known == name).map(|(_, text)| text.clone()),
    }
}

/// The region of an offer's agent.
pub(crate) fn region(offer: &Offer) -> Option<String> {
    Some(offer.domain.as_ref()?.fault_domain.as_ref()?.region.name.clone())
}

/// The zone of an offer's agent.
pub(crate) fn zone(offer: &Offer) -> Option<String> {
    Some(offer.domain.as_ref()?.fault_domain.as_ref()?.zone.name.clone())
}

/// An attribute as constraints compare it.
///
/// Marathon: `Constraints.getValueString`.
pub(crate) fn text(attribute: &Attribute) -> String {
    match attribute.r#type() {
        value::Type::Scalar => number(attribute.scalar.as_ref().map_or(0.0, |scalar| scalar.value)),
        value::Type::Text => attribute.text.as_ref().map(|text| text.value.clone()).unwrap_or_default(),
        value::Type::Ranges => {
            let mut ranges = attribute.ranges.as_ref().map(|ranges| ranges.range.clone()).unwrap_or_default();
            ranges.sort_by_key(|range| range.begin);
            let parts: Vec<String> =
                ranges.iter().map(|range| format!("{}-{}", range.begin, range.end)).collect();
            format!("[{}]", parts.join(","))
        }
        value::Type::Set => {
            let mut items = attribute.set.as_ref().map(|set| set.item.clone()).unwrap_or_default();
            items.sort();
            format!("{{{}}}", items.join(","))
        }
    }
}

/// Up to three decimals, without zeros behind.
fn number(value: f64) -> String {
    let text = format!("{value:.3}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

fn normal_number(text: &str) -> String {
    let is_number = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit() || b == b'.');
    match text.parse() {
        Ok(value) if is_number => number(value),
        _ => text.to_owned(),
    }
}

#[cfg(test)]
#[path = "constraint_tests.rs"]
mod tests;
