use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

/// `name` or `name/variant`.
fn key(text: &str) -> PackageKey {
    let (name, variant) = text.split_once('/').unwrap_or((text, ""));
    PackageKey { name: name.parse().unwrap(), variant: Variant::named(variant).unwrap() }
}

fn shown(key: &PackageKey) -> String {
    match key.variant.name() {
        Some(variant) => format!("{}/{variant}", key.name),
        None => key.name.to_string(),
    }
}

/// Lines `a: b c/x`.
fn graph(text: &str) -> Graph {
    let line = |line: &str| {
        let (name, requires) = line.split_once(':').unwrap();
        let name = key(name.trim());
        let mut info = BuildInfo::parse(&name.name, "").unwrap();
        info.requires = requires.split_whitespace().map(key).collect();
        (name, info)
    };
    Graph::of(text.split(';').filter(|text| !text.trim().is_empty()).map(line))
}

fn all_keys(graph: &Graph) -> Vec<PackageKey> {
    graph.keys().cloned().collect()
}

#[track_caller]
fn check_order(text: &str, expected: Result<&str, &str>) {
    let graph = graph(text);
    let found = graph.build_order(&all_keys(&graph));
    let found = found.map(|order| order.iter().map(shown).collect::<Vec<_>>().join(" "));
    let found = found.map_err(|error| error.to_string());
    assert_eq!(found, expected.map(str::to_owned).map_err(str::to_owned), "{text}");
}

/// The whole tree and the bootstrap, or the error.
#[track_caller]
fn check_set(packages: &str, tree: &str, expected: Result<(&str, &str), &str>) {
    let found = graph(packages).package_set(&TreeInfo::parse(tree).unwrap());
    let text = |keys: &BTreeSet<PackageKey>| keys.iter().map(shown).collect::<Vec<_>>().join(" ");
    let found = found.map(|set| (text(&set.all), text(&set.bootstrap))).map_err(|error| error.to_string());
    let expected = expected.map(|(all, bootstrap)| (all.to_owned(), bootstrap.to_owned()));
    assert_eq!(found, expected.map_err(str::to_owned), "{tree}");
}

#[test]
fn what_is_required_is_built_before() {
    check_order("", Ok(""));
    check_order("c:; b:; a:", Ok("a b c"));
    check_order("a: z; z:; m:", Ok("z a m"));
    check_order("a: d c; b:; c: e; d:; e:", Ok("e c d a b"));
    // A variant comes before the default one, of what is required, too.
    check_order("a: x; b: x/v; x:; x/v:; x/w:", Ok("x a x/v b x/w"));
    check_order("x:; x/v:; x/a:", Ok("x/a x/v x"));
}

#[test]
fn circles_are_named_whole() {
    let circle = "packages require each other in a circle:";
    check_order("a: a", Err(&format!("{circle} a -> a")));
    check_order("a: b; b: c; c: d; d: b", Err(&format!("{circle} b -> c -> d -> b")));
    check_order("a: a/v; a/v: a", Err(&format!("{circle} a (v) -> a -> a (v)")));
    // No circle: another variant of the same package.
    check_order("a: a/v; a/v:", Ok("a/v a"));
}

#[test]
fn what_there_is_not_is_told_with_what_may_be_meant() {
    check_order(
        "a: opensll; openssl:",
        Err("requires of a: there is no package opensll (did you mean openssl?)"),
    );
    check_order("a: zzz; b:", Err("requires of a: there is no package zzz"));
    check_order("a: b/w; b/v:; b:", Err("requires of a: the package b has no variant w, only v, <default>"));
    check_order("a: b; b/v:", Err("requires of a: the package b has no variant <default>, only v"));
}

#[test]
fn a_long_chain_is_no_deep_recursion() {
    let text: String = (0..5_000).map(|at| format!("p{at}: p{};", at + 1)).collect();
    let graph = graph(&format!("{text} p5000:"));
    let order = graph.build_order(&all_keys(&graph)).unwrap();
    assert_eq!((order.len(), shown(&order[0]), shown(&order[5_000])), (5_001, "p5000".into(), "p0".into()));
}

#[test]
fn what_a_build_needs_comes_in_one_variant_each() {
    let graph = graph("a: b c; b: d/x; c: d/y; d/x:; d/y:; e: b; f: f/x; f/x:");
    let requires = |name: &str| {
        let found = graph.requires(&key(name)).map_err(|error| error.to_string());
        found.map(|keys| keys.iter().map(shown).collect::<Vec<_>>().join(" "))
    };
    assert_eq!(requires("e").unwrap(), "d/x b");
    assert_eq!(requires("d/x").unwrap(), "");
    // When it is built, it is not active itself.
    assert_eq!(requires("f").unwrap(), "f/x");
    assert_eq!(
        requires("a").unwrap_err(),
        "d is needed in two variants, and only one can be active: x (a -> b -> d (x)) and y (a -> c -> d (y))"
    );
}

#[test]
fn sets_of_trees() {
    let packages = "a: b; b:; c: d; d:; d/v:; x:";
    check_set(packages, "", Ok(("a b c d x", "a b c d x")));
    check_set(packages, r#"{"exclude": ["x"]}"#, Ok(("a b c d", "a b c d")));
    check_set(packages, r#"{"core_package_list": ["a"]}"#, Ok(("a b", "a b")));
    check_set(
        packages,
        r#"{"core_package_list": ["a", "c"], "bootstrap_package_list": ["b"]}"#,
        Ok(("a b c d", "b")),
    );
    check_set(packages, r#"{"core_package_list": ["d"], "variants": {"d": "v"}}"#, Ok(("d/v", "d/v")));
    // What requires a package without a variant gets the default one: both are built, one is in the bootstrap.
    check_set(
        packages,
        r#"{"core_package_list": ["c", "d"], "variants": {"d": "v"}, "bootstrap_package_list": ["a", "c"]}"#,
        Err("bootstrap_package_list: a is not in the tree: core_package_list needs to bring it"),
    );
    check_set(
        packages,
        r#"{"core_package_list": ["c", "d"], "variants": {"d": "v"}, "bootstrap_package_list": ["c"]}"#,
        Ok(("c d/v d", "c d")),
    );
    check_set(
        packages,
        r#"{"core_package_list": ["c", "d"], "variants": {"d": "v"}}"#,
        Err("d is needed in two variants, and only one can be active: v (listed) and <default> (c -> d)"),
    );
}

#[test]
fn sets_that_cannot_be() {
    check_set(
        "a:",
        r#"{"core_package_list": ["b"]}"#,
        Err("core_package_list: there is no package b (did you mean a?)"),
    );
    check_set(
        "abc:",
        r#"{"bootstrap_package_list": ["abd"]}"#,
        Err("bootstrap_package_list: there is no package abd (did you mean abc?)"),
    );
    check_set(
        "a:; b:",
        r#"{"variants": {"b": "v"}}"#,
        Err("core_package_list: the package b has no variant v, only <default>"),
    );
    check_set("a:; b/v:", "", Err("core_package_list: the package b has no variant <default>, only v"));
    check_set(
        "a:; b/v:",
        r#"{"core_package_list": ["a"], "variants": {"b": "v"}}"#,
        Err("variants.b: b is not in the tree in the variant v"),
    );
    check_set("a:", r#"{"variants": {"c": "v"}}"#, Err("variants: there is no package c (did you mean a?)"));
    check_set(
        "a: b; b: c; c:",
        r#"{"exclude": ["c"], "core_package_list": ["a"]}"#,
        Err("c is in exclude, and required: a -> b -> c"),
    );
    check_set("a: b; b: a", "", Err("packages require each other in a circle: a -> b -> a"));
}

/// The order of the original, written down as its recursion.
fn naive_order(packages: &BTreeMap<PackageKey, Vec<PackageKey>>) -> Result<Vec<PackageKey>, ()> {
    fn visit(
        packages: &BTreeMap<PackageKey, Vec<PackageKey>>,
        key: &PackageKey,
        above: &[PackageKey],
        order: &mut Vec<PackageKey>,
    ) -> Result<(), ()> {
        if order.contains(key) {
            return Ok(());
        }
        if above.contains(key) {
            return Err(());
        }
        let above = [above, std::slice::from_ref(key)].concat();
        let mut requires = packages.get(key).ok_or(())?.clone();
        requires.sort_by_key(|key| {
            (key.name.clone(), key.variant.name().is_none(), key.variant.as_str().to_owned())
        });
        for required in requires {
            visit(packages, &required, &above, order)?;
        }
        order.push(key.clone());
        Ok(())
    }
    let mut order = Vec::new();
    for key in packages.keys() {
        visit(packages, key, &[], &mut order)?;
    }
    Ok(order)
}

/// Up to twelve packages in two variants; an edge may go anywhere if `is_wild`, else only to what is behind.
fn packages(is_wild: bool) -> impl Strategy<Value = BTreeMap<PackageKey, Vec<PackageKey>>> {
    let package = |at: usize| key(&format!("p{}{}", at / 2, ["", "/v"][at % 2]));
    let edges = prop::collection::vec((0..24usize, 0..24usize), 0..30);
    edges.prop_map(move |edges| {
        let mut packages: BTreeMap<_, Vec<_>> = (0..24).map(|at| (package(at), Vec::new())).collect();
        for (from, to) in edges {
            if is_wild || from < to {
                packages.get_mut(&package(from)).unwrap().push(package(to));
            }
        }
        packages
    })
}

fn graph_of(packages: &BTreeMap<PackageKey, Vec<PackageKey>>) -> Graph {
    Graph::of(packages.iter().map(|(key, requires)| {
        let mut info = BuildInfo::parse(&key.name, "").unwrap();
        info.requires = requires.clone();
        (key.clone(), info)
    }))
}

proptest! {
    #[test]
    fn the_order_is_the_originals(packages in any::<bool>().prop_flat_map(packages)) {
        let graph = graph_of(&packages);
        match (graph.build_order(graph.keys()), naive_order(&packages)) {
            (Ok(found), Ok(expected)) => prop_assert_eq!(found, expected),
            (Err(GraphError::Cycle(circle)), Err(())) => {
                prop_assert_eq!(circle.first(), circle.last());
                for link in circle.windows(2) {
                    prop_assert!(packages[&link[0]].contains(&link[1]), "{:?}", circle);
                }
            }
            (found, expected) => prop_assert!(false, "{:?} {:?}", found, expected),
        }
    }

    #[test]
    fn what_a_build_needs_is_all_that_can_be_reached(packages in packages(false), at in 0..24usize) {
        let graph = graph_of(&packages);
        let root = packages.keys().nth(at).unwrap();
        let mut reached = BTreeSet::new();
        let mut open = packages[root].clone();
        while let Some(key) = open.pop() {
            if reached.insert(key.clone()) {
                open.extend(packages[&key].clone());
            }
        }
        let names: BTreeSet<_> = reached.iter().map(|key| &key.name).collect();
        match graph.requires(root) {
            Ok(found) => {
                prop_assert_eq!(names.len(), reached.len());
                prop_assert_eq!(found.into_iter().collect::<BTreeSet<_>>(), reached);
            }
            Err(GraphError::Conflict { first, second }) => {
                prop_assert!(names.len() < reached.len());
                prop_assert_eq!(&first.last().unwrap().name, &second.last().unwrap().name);
                for chain in [first, second] {
                    prop_assert_eq!(&chain[0], root);
                    for link in chain.windows(2) {
                        prop_assert!(packages[&link[0]].contains(&link[1]), "{:?}", chain);
                    }
                }
            }
            Err(error) => prop_assert!(false, "{}", error),
        }
    }
}
