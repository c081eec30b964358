use std::collections::BTreeMap;

use http_kit::Bytes;

use crate::view::View;

/// How many bytes of documents are kept.
const LIMIT: usize = 64 << 20;
/// What a document costs beyond its bytes.
const OVERHEAD: usize = 512;

/// The documents that were rendered of one state, for whoever asks for the same.
#[derive(Debug, Default)]
pub(crate) struct Documents {
    /// The core's revision that they show.
    revision: u64,
    kept: BTreeMap<View, Bytes>,
    bytes: usize,
    /// How often one was taken.
    pub(crate) taken: u64,
}

impl Documents {
    /// The state has this revision now. What shows another one is forgotten.
    pub(crate) fn revise(&mut self, revision: u64) {
        if self.revision != revision {
            self.revision = revision;
            self.kept.clear();
            self.bytes = 0;
        }
    }

    /// The document of `view`, if it was kept.
    pub(crate) fn take(&mut self, view: &View) -> Option<Bytes> {
        let document = self.kept.get(view)?.clone();
        self.taken += 1;
        Some(document)
    }

    /// Keeps a document, if it is one of the state alone and there is room.
    pub(crate) fn keep(&mut self, view: View, document: &Bytes) {
        let bytes = document.len() + OVERHEAD;
        if view.holds_until_something_changes() && self.bytes + bytes <= LIMIT {
            self.bytes += bytes;
            self.kept.insert(view, document.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mm50_documents_are_kept_for_one_revision_and_up_to_the_limit() {
        let mut documents = Documents::default();
        let document = Bytes::from_static(b"{}");
        documents.keep(View::Roles, &document);
        documents.keep(View::Metrics, &document);
        assert_eq!(documents.take(&View::Roles), Some(document));
        assert_eq!(documents.take(&View::Metrics), None, "metrics depend on the time");
        documents.revise(0);
        assert!(documents.take(&View::Roles).is_some());
        documents.revise(1);
        assert_eq!(documents.take(&View::Roles), None);
        assert_eq!(documents.taken, 2);
        documents.keep(View::State, &Bytes::from(vec![0; LIMIT - 1000]));
        documents.keep(View::Roles, &Bytes::from_static(b"{}"));
        assert!(documents.take(&View::State).is_some() && documents.take(&View::Roles).is_none());
    }
}
