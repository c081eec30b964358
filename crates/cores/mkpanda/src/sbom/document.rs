//! An SPDX document while it grows.

use std::collections::BTreeSet;

use api_pkgpanda::json;
use base::Wall;
use serde_json::{Value, json};

use super::FileSum;

/// What is not known, or was not looked for.
const NOASSERTION: &str = "NOASSERTION";

/// The id of an element within its document.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) struct SpdxId(String);

pub(super) struct Document {
    name: String,
    created: u64,
    ids: BTreeSet<SpdxId>,
    packages: Vec<Value>,
    files: Vec<Value>,
    relationships: Vec<Value>,
}

impl Document {
    /// `name` is unique: there are no two documents about one package, as its id tells all that went into it.
    pub(super) fn new(name: &str, created: u64) -> Document {
        Document {
            name: name.to_owned(),
            created,
            ids: BTreeSet::new(),
            packages: Vec::new(),
            files: Vec::new(),
            relationships: Vec::new(),
        }
    }

    /// Adds a package, filling in what must be there.
    pub(super) fn package(&mut self, kind: &str, name: &str, mut package: Value) -> SpdxId {
        let id = self.new_id(kind, name);
        let fields = package.as_object_mut().expect("packages are written as objects");
        fields.insert("SPDXID".to_owned(), id.0.as_str().into());
        fields.entry("filesAnalyzed").or_insert(false.into());
        for field in ["copyrightText", "downloadLocation", "licenseConcluded", "licenseDeclared", "supplier"]
        {
            fields.entry(field).or_insert(NOASSERTION.into());
        }
        self.packages.push(package);
        id
    }

    /// Adds a file of a package.
    ///
    /// Numbers instead of names, and no field that may be left out: there are thousands of files.
    pub(super) fn file(&mut self, of: &SpdxId, file: &FileSum) {
        let id = SpdxId(format!("SPDXRef-File-{}", self.files.len() + 1));
        self.files.push(json!({
            "SPDXID": id.0,
            "fileName": format!("./{}", file.path),
            "checksums": [
                {"algorithm": "SHA1", "checksumValue": file.sha1},
                {"algorithm": "SHA256", "checksumValue": file.sha256},
            ],
        }));
        self.relate(of, "CONTAINS", &id);
    }

    pub(super) fn describes(&mut self, id: &SpdxId) {
        self.relate(&SpdxId("SPDXRef-DOCUMENT".to_owned()), "DESCRIBES", id);
    }

    pub(super) fn relate(&mut self, from: &SpdxId, kind: &str, to: &SpdxId) {
        self.relationships.push(json!({
            "spdxElementId": from.0,
            "relationshipType": kind,
            "relatedSpdxElement": to.0,
        }));
    }

    pub(super) fn text(self) -> String {
        let created = Wall::from_millis(self.created.saturating_mul(1000)).to_iso8601();
        // SPDX knows no fractions of a second.
        let created = created.split_once('.').map_or(created.clone(), |(seconds, _)| format!("{seconds}Z"));
        let mut document = json!({
            "SPDXID": "SPDXRef-DOCUMENT",
            "creationInfo": {
                "created": created,
                "creators": [format!("Tool: mkpanda-{}", crate::PKGPANDA_VERSION)],
            },
            "dataLicense": "CC0-1.0",
            "documentNamespace": format!("https://spdx.org/spdxdocs/dcos/{}", super::escaped(&self.name)),
            "name": self.name,
            "spdxVersion": "SPDX-2.3",
        });
        // Within the macro they would be copied, one value after the other.
        document["packages"] = self.packages.into();
        document["relationships"] = self.relationships.into();
        if !self.files.is_empty() {
            document["files"] = self.files.into();
        }
        json::pretty_value(&document)
    }

    /// Letters, digits, dots and dashes are allowed. Names that become the same are told apart by a number, in the
    /// order in which they are added.
    fn new_id(&mut self, kind: &str, name: &str) -> SpdxId {
        let plain = |c: char| if c.is_ascii_alphanumeric() || c == '.' { c } else { '-' };
        let stem = format!("SPDXRef-{kind}-{}", name.chars().map(plain).collect::<String>());
        let numbered = (2..).map(|number| SpdxId(format!("{stem}-{number}")));
        let mut candidates = std::iter::once(SpdxId(stem.clone())).chain(numbered);
        let id = candidates.find(|id| !self.ids.contains(id)).expect("numbers do not end");
        self.ids.insert(id.clone());
        id
    }
}
