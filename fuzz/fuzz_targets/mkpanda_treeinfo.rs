//! Trees: the first line is a treeinfo, each of the others the buildinfo of a package. What comes out is in order.
#![no_main]

use std::collections::BTreeSet;

use libfuzzer_sys::fuzz_target;
use mkpanda_core::{BuildInfo, Graph, PackageKey, TreeInfo, Variant};

const NAMES: [&str; 6] = ["a", "b", "c", "d", "e", "f"];

fuzz_target!(|text: &str| {
    let mut lines = text.lines();
    let Ok(tree) = TreeInfo::parse(lines.next().unwrap_or_default()) else { return };
    let packages = lines.zip(NAMES.iter().cycle()).enumerate().take(12).filter_map(|(at, (line, name))| {
        let name = name.parse().expect("it is a name");
        let buildinfo = BuildInfo::parse(&name, line).ok()?;
        let variant = Variant::named(if at < NAMES.len() { "" } else { "v" }).expect("it is a name");
        Some((PackageKey { name, variant }, buildinfo))
    });
    let graph = Graph::of(packages);
    let Ok(set) = graph.package_set(&tree) else { return };
    assert!(set.bootstrap.is_subset(&set.all));
    let order = graph.build_order(&set.all).expect("the set has no circles");
    assert_eq!(order.iter().cloned().collect::<BTreeSet<_>>(), set.all);
    for (at, key) in order.iter().enumerate() {
        assert!(graph.direct(key).iter().all(|required| order[..at].contains(required)));
    }
});
