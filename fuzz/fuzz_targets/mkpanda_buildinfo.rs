//! What packages are built from. What is read names a package, and what is written of it can be read.
#![no_main]

use std::collections::{BTreeMap, BTreeSet};

use api_pkgpanda::PkgInfo;
use libfuzzer_sys::fuzz_target;
use mkpanda_core::{BuildInfo, Inputs, PackageKey, Source, SourceId, Variant, pkginfo_json};

fuzz_target!(|text: &str| {
    let name = "fuzzed".parse().expect("it is a name");
    let buildinfo = match BuildInfo::parse(&name, text) {
        Ok(buildinfo) => buildinfo,
        Err(invalid) => {
            assert!(!invalid.problems.is_empty());
            return;
        }
    };
    assert_eq!(PkgInfo::parse(&pkginfo_json(&buildinfo)), Ok(buildinfo.pkginfo()));
    for source in buildinfo.sources.values() {
        assert_eq!(Source::parse(&source.to_json().to_string()).as_ref(), Ok(source));
        if let Source::Url(download) | Source::UrlExtract(download) = source {
            assert!(!download.file_name().contains('/'));
        }
    }
    let key = PackageKey { name, variant: Variant::DEFAULT };
    let found = |source: &Source| source.declared_id().unwrap_or_else(|| SourceId::Contents("0".repeat(40)));
    let source_ids: BTreeMap<_, _> =
        buildinfo.sources.iter().map(|(name, source)| (name.clone(), found(source))).collect();
    let inputs = Inputs {
        key: &key,
        buildinfo: &buildinfo,
        source_ids: &source_ids,
        build: "build",
        docker: "docker",
        extra_source: None,
        requires: &BTreeSet::new(),
    };
    let id = inputs.package_id().expect("the name and what may stand before the hash are short");
    let full: serde_json::Value = serde_json::from_str(&inputs.buildinfo_full_json(&id)).expect("it is JSON");
    assert_eq!(full["package_version"], id.version());
});
