//! Names in recorded requests, and what they are called in our cluster.
//!
//! What stood in the same place of two answers is the same thing: that is how most names are learned. For
//! those that no answer has told, the shape says what kind of thing it is, and there is one of each kind at
//! hand.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::shape::{Kind, Shapes};

/// The things at hand, for names that nobody has told.
#[derive(Clone, Debug, Default)]
pub(crate) struct AtHand {
    /// The agent's id.
    pub(crate) agent: Option<String>,
    /// The framework's id.
    pub(crate) framework: Option<String>,
    /// An offer's id.
    pub(crate) offer: Option<String>,
    /// The id of a running container.
    pub(crate) container: Option<String>,
    /// The agent's directory.
    pub(crate) work_dir: Option<String>,
}

/// From recorded names to ours.
#[derive(Debug, Default)]
pub(crate) struct Names {
    known: BTreeMap<String, String>,
    /// Directories and addresses, replaced wherever they stand.
    parts: Vec<(String, String)>,
    /// The things at hand.
    pub(crate) at_hand: AtHand,
}

impl Names {
    /// With the recorded addresses and ours.
    pub(crate) fn new(addresses: Vec<(String, String)>) -> Self {
        Self { parts: addresses, ..Self::default() }
    }

    /// Whether a recorded name is known.
    pub(crate) fn knows(&self, recorded: &str) -> bool {
        self.known.contains_key(recorded)
    }

    /// Says what a recorded name is called here.
    pub(crate) fn bind(&mut self, recorded: &str, ours: &str) {
        self.known.insert(recorded.to_owned(), ours.to_owned());
    }

    /// Learns from two texts that stood in the same place. What is known stays.
    pub(crate) fn learn(&mut self, shapes: &Shapes, recorded: &str, ours: &str) {
        let (a, b) = (shapes.ids(recorded), shapes.ids(ours));
        let alike = a.len() == b.len() && a.iter().zip(&b).all(|((_, a, _), (_, b, _))| a == b);
        if alike {
            for ((_, _, recorded), (_, _, ours)) in a.into_iter().zip(b) {
                self.known.entry(recorded.to_owned()).or_insert_with(|| ours.to_owned());
            }
        }
        if let (Some(a), Some(b)) = (shapes.work_dir(recorded), shapes.work_dir(ours))
            && !self.parts.iter().any(|(known, _)| known == a)
        {
            self.parts.insert(0, (a.to_owned(), b.to_owned()));
        }
    }

    /// A recorded text in our names.
    pub(crate) fn text(&self, shapes: &Shapes, text: &str) -> String {
        let mut out = text.to_owned();
        let unknown = shapes.work_dir(text).filter(|dir| !self.parts.iter().any(|(known, _)| known == dir));
        if let (Some(dir), Some(ours)) = (unknown, &self.at_hand.work_dir) {
            out = out.replace(dir, ours);
        }
        // The longest first, and each place once: our addresses may look like theirs.
        let mut parts: Vec<_> = self.parts.iter().collect();
        parts.sort_by_key(|(recorded, _)| std::cmp::Reverse(recorded.len()));
        for (at, (recorded, _)) in parts.iter().enumerate() {
            out = out.replace(recorded.as_str(), &format!("\u{0}{at}\u{1}"));
        }
        for (at, (_, ours)) in parts.iter().enumerate() {
            out = out.replace(&format!("\u{0}{at}\u{1}"), ours);
        }
        self.ids(shapes, &out)
    }

    fn ids(&self, shapes: &Shapes, text: &str) -> String {
        let (mut out, mut end) = (String::with_capacity(text.len()), 0);
        for (start, kind, id) in shapes.ids(text) {
            let at_hand = match kind {
                Kind::Agent => &self.at_hand.agent,
                Kind::Framework => &self.at_hand.framework,
                Kind::Offer => &self.at_hand.offer,
                Kind::Uuid if is_container(&text[..start]) => &self.at_hand.container,
                Kind::Uuid => &None,
            };
            out.push_str(&text[end..start]);
            let ours = self.known.get(id).or(at_hand.as_ref()).map_or(id, String::as_str);
            out.push_str(ours);
            end = start + id.len();
        }
        out.push_str(&text[end..]);
        out
    }

    /// The offers that a call names.
    pub(crate) fn offers(body: &Value) -> Option<&Vec<Value>> {
        ["accept", "decline", "accept_inverse_offers", "decline_inverse_offers"].into_iter().find_map(
            |call| {
                let call = body.get(call)?;
                call.get("offer_ids").or(call.get("inverse_offer_ids"))?.as_array()
            },
        )
    }
}

/// Whether what stands before a bare id says that it is a container's.
fn is_container(before: &str) -> bool {
    let words = [
        "runs/",
        "\"parent\": {\"value\": \"",
        "\"parent\":{\"value\":\"",
        "\"container_id\": {\"value\": \"",
        "\"container_id\":{\"value\":\"",
    ];
    words.into_iter().any(|word| before.ends_with(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    const THEIRS: &str = "307d575e-a796-4f6e-aef8-46deb3140b24";
    const OURS: &str = "11111111-a796-4f6e-aef8-46deb3140b24";

    #[test]
    fn names_are_learned_from_what_stood_in_the_same_place() {
        let shapes = Shapes::new(Vec::new());
        let mut names = Names::new(vec![("127.0.0.1".into(), "127.9.9.1".into())]);
        let path = |dir: &str, id: &str| format!("{dir}/slaves/{id}-S0/frameworks/{id}-0001/runs/{id}");
        names.learn(&shapes, &path("/opt/theirs", THEIRS), &path("/tmp/ours", OURS));
        assert_eq!(names.text(&shapes, &path("/opt/theirs", THEIRS)), path("/tmp/ours", OURS));
        assert_eq!(
            names.text(&shapes, "http://127.0.0.1:5051/opt/theirs/x"),
            "http://127.9.9.1:5051/tmp/ours/x"
        );
        assert!(names.knows(&format!("{THEIRS}-0001")) && !names.knows(&format!("{THEIRS}-0002")));
    }

    #[test]
    fn unknown_names_stand_for_what_is_at_hand() {
        let shapes = Shapes::new(Vec::new());
        let mut names = Names::new(Vec::new());
        names.at_hand = AtHand {
            agent: Some("A".into()),
            container: Some("C".into()),
            work_dir: Some("/ours".into()),
            ..AtHand::default()
        };
        assert_eq!(
            names.text(&shapes, &format!("/theirs/slaves/{THEIRS}-S0/runs/{THEIRS}")),
            "/ours/slaves/A/runs/C"
        );
        assert_eq!(
            names.text(&shapes, &format!("\"parent\": {{\"value\": \"{THEIRS}\"}}")),
            "\"parent\": {\"value\": \"C\"}"
        );
        assert_eq!(names.text(&shapes, THEIRS), THEIRS);
    }
}
