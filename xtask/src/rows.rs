//! Which tests prove which row of the Mesos compatibility table. A test says so by its name: `mm25_...`
//! is about the row MM25, `mm44_mp25_...` about two. The rows and their states are written by hand, the
//! column of tests from the names.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

use crate::codegen::Mode;

const FILE: &str = "docs/compat/mesos.md";

/// The words for how far a row is there. Whoever says the first one names a test.
const STATES: [&str; 4] = ["whole", "part", "open", "never"];

/// Which rows there are: how the tables of features number them.
const TABLES: [(&str, u32); 3] = [("MM", 51), ("MA", 64), ("MP", 29)];

/// Writes the column of tests. With [`Mode::Check`] only what is wrong is told: a row that is missing or
/// doubled, a state that is none, a test that does not exist, a whole row without a test.
pub(crate) fn run(mode: Mode) -> Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("xtask lies in the workspace")?;
    let path = root.join(FILE);
    let text = fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
    let tests = tests(root)?;
    if mode == Mode::Write {
        return fs::write(&path, written(&text, &tests))
            .with_context(|| format!("writing {}", path.display()));
    }
    let wrong = wrong(&text, &tests);
    ensure!(wrong.is_empty(), "{FILE}: {}; `cargo xtask rows` writes the column of tests", wrong.join("; "));
    Ok(())
}

/// The names of tests by their rows.
type Tests = BTreeMap<String, Vec<String>>;

fn tests(root: &Path) -> Result<Tests> {
    let mut tests = Tests::new();
    let mut folders: Vec<PathBuf> = ["bin", "crates", "examples"]
        .iter()
        .map(|folder| root.join(folder))
        .filter(|it| it.exists())
        .collect();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).with_context(|| format!("reading {}", folder.display()))? {
            let path = entry?.path();
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            if path.is_dir() {
                if !matches!(name, "target" | "generated") {
                    folders.push(path);
                }
            } else if name.ends_with(".rs") {
                let text =
                    fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
                add_tests_of(&text, &mut tests);
            }
        }
    }
    for names in tests.values_mut() {
        names.sort();
        names.dedup();
    }
    Ok(tests)
}

/// The functions with a row's name that are marked as tests.
fn add_tests_of(text: &str, tests: &mut Tests) {
    let mut is_test = false;
    for line in text.lines().map(str::trim_start) {
        if line.starts_with("#[test]") || line.starts_with("#[tokio::test") {
            is_test = true;
        } else if let Some((_, name)) = line.split_once("fn ").filter(|_| is_test) {
            let name = name.split(['(', '<']).next().unwrap_or_default();
            for row in rows_of(name) {
                tests.entry(row).or_default().push(name.to_owned());
            }
            is_test = false;
        }
    }
}

/// The rows that a test's name begins with.
fn rows_of(name: &str) -> impl Iterator<Item = String> {
    name.split('_').map(str::to_ascii_uppercase).take_while(|word| is_row(word))
}

fn is_row(word: &str) -> bool {
    let table = TABLES.iter().find_map(|(table, last)| Some((word.strip_prefix(table)?, last)));
    table.is_some_and(|(number, last)| {
        number.len() == 2 && number.parse::<u32>().is_ok_and(|number| (1..=*last).contains(&number))
    })
}

/// The cells of a line of the table of rows: row, what it is, state, what is open, tests.
fn cells(line: &str) -> Option<[&str; 5]> {
    let cells: Vec<&str> = line.strip_prefix('|')?.strip_suffix('|')?.split('|').map(str::trim).collect();
    let cells: [&str; 5] = cells.try_into().ok()?;
    is_row(cells[0]).then_some(cells)
}

fn written(text: &str, tests: &Tests) -> String {
    let mut out = String::with_capacity(text.len());
    for line in text.lines() {
        match cells(line) {
            Some([row, what, state, open, _]) => {
                let names = tests.get(row).map(Vec::as_slice).unwrap_or_default();
                let names: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
                out.push_str(&format!("| {row} | {what} | {state} | {open} | {} |", names.join(", ")));
            }
            None => out.push_str(line),
        }
        out.push('\n');
    }
    out
}

fn wrong(text: &str, tests: &Tests) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut seen: BTreeMap<&str, usize> = BTreeMap::new();
    for [row, _, state, _, named] in text.lines().filter_map(cells) {
        *seen.entry(row).or_default() += 1;
        if !STATES.contains(&state) {
            wrong.push(format!("{row} is '{state}', allowed are {}", STATES.join(", ")));
        }
        let named: Vec<&str> = named
            .split(',')
            .map(|name| name.trim().trim_matches('`'))
            .filter(|name| !name.is_empty())
            .collect();
        if state == STATES[0] && named.is_empty() {
            wrong.push(format!("{row} is said to be whole and has no test"));
        }
        let known = tests.get(row).map(Vec::as_slice).unwrap_or_default();
        let unknown = named.into_iter().filter(|name| !known.iter().any(|known| known == name));
        wrong.extend(unknown.map(|name| format!("{row} names the test {name}, which is not there")));
    }
    for (table, last) in TABLES {
        for row in (1..=last).map(|number| format!("{table}{number:02}")) {
            match seen.get(&*row) {
                Some(1) => {}
                Some(_) => wrong.push(format!("{row} is there more than once")),
                None => wrong.push(format!("{row} is missing")),
            }
        }
    }
    wrong
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_names_tests_that_are_there() {
        run(Mode::Check).unwrap();
    }

    #[test]
    fn a_name_says_its_rows() {
        let check = |name: &str, rows: &[&str]| assert_eq!(rows_of(name).collect::<Vec<_>>(), rows, "{name}");
        check("mm44_teardown", &["MM44"]);
        check("mm44_mp25_teardown_mp01", &["MM44", "MP25"]);
        check("mm99_nothing", &[]);
        check("mp1_nothing", &[]);
        check("a_mm44", &[]);
    }

    #[test]
    fn what_is_wrong_is_told() {
        let mut tests = Tests::new();
        add_tests_of(
            "#[test]\nfn mm01_a() {}\n#[tokio::test]\nasync fn mm02_b() {}\nfn mm03_c() {}",
            &mut tests,
        );
        assert_eq!(tests.keys().collect::<Vec<_>>(), ["MM01", "MM02"]);
        let text = "| MM01 | x | whole | | `mm01_z` |\n| MM02 | x | done | | |\n| MM03 | x | whole | | |\n";
        let found = wrong(text, &tests);
        for expect in [
            "MM01 names the test mm01_z, which is not there",
            "MM02 is 'done', allowed are whole, part, open, never",
            "MM03 is said to be whole and has no test",
            "MM04 is missing",
        ] {
            assert!(found.iter().any(|found| found == expect), "{expect}: {found:?}");
        }
        let expect = "| MM01 | x | whole |  | `mm01_a` |\n| MM02 | x | done |  | `mm02_b` |\n| MM03 | x | whole |  |  |\n";
        assert_eq!(written(text, &tests), expect);
    }
}
