//! The command line.

use std::ffi::OsString;

/// What `--help` prints, and a wrong command line below its reason.
pub(crate) const USAGE: &str = "Usage:
  mkpanda [--repository-url=<url>] [--dont-clean-after-build] [--recursive] [--jobs=<n>]
  mkpanda tree [--mkbootstrap] [--repository-url=<url>] [--jobs=<n>] [<variant>]
  mkpanda --help | --version
";

/// What `--help` says beyond the usage.
pub(crate) const HELP: &str = "
In the folder of a package, mkpanda builds the package with all its variants, from what was built last of
the packages that it requires. In the folder above, `mkpanda tree` builds all packages of a tree in the right
order; of all trees, unless one is named (`default` is the one without a name).

What is in the cache is not built again, and neither is what the repository has.

Options:
  --repository-url=<url>    Look for packages there before they are built
  --recursive               Build what the package requires, too
  --dont-clean-after-build  Keep the folders `src` and `result` of the build in the cache
  --mkbootstrap             Make the bootstrap tarball of each tree, too
  --jobs=<n>                Build as many packages at one time [default: the number of processors]
  --help                    Print this text
  --version                 Print the version
";

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    /// Print the help.
    Help,
    /// Print the version.
    Version,
    /// Build the package of the current folder.
    Package {
        /// Whether what it requires is built, too.
        recursive: bool,
        /// Whether the folders of the build stay.
        keep: bool,
    },
    /// Build trees of the current folder.
    Tree {
        /// Whether bootstraps are made.
        mkbootstrap: bool,
        /// The one tree that is wanted.
        variant: Option<String>,
    },
}

/// A command line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Arguments {
    pub(crate) action: Action,
    /// Where packages may be had.
    pub(crate) repository_url: Option<String>,
    /// Builds at one time; `None`: as many as there are processors.
    pub(crate) jobs: Option<usize>,
}

/// The most builds at one time.
const JOBS_LIMIT: usize = 256;

/// The options, with whether they take a value.
const OPTIONS: [(&str, bool); 7] = [
    ("--help", false),
    ("--version", false),
    ("--repository-url", true),
    ("--dont-clean-after-build", false),
    ("--recursive", false),
    ("--mkbootstrap", false),
    ("--jobs", true),
];

/// Reads a command line as docopt does: options stand anywhere, long ones may be shortened as long as only one can
/// be meant, values follow `=` or are the next word.
///
/// # Errors
/// What is wrong with it.
pub(crate) fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Arguments, String> {
    let mut words = arguments.into_iter();
    let mut given: Vec<(&str, Option<String>)> = Vec::new();
    let mut positional: Vec<String> = Vec::new();
    while let Some(word) = words.next() {
        let word = text(word)?;
        if word == "-h" {
            given.push(("--help", None));
        } else if word.starts_with("--") && word.len() > 2 {
            let (name, value) = match word.split_once('=') {
                Some((name, value)) => (name, Some(value.to_owned())),
                None => (word.as_str(), None),
            };
            let (name, takes_value) = option(name)?;
            let value = match (takes_value, value) {
                (false, Some(_)) => return Err(format!("{name} must not have an argument")),
                (true, None) => {
                    let next = words.next().ok_or_else(|| format!("{name} requires argument"))?;
                    Some(text(next)?)
                }
                (_, value) => value,
            };
            given.push((name, value));
        } else if word.starts_with('-') && word.len() > 1 {
            return Err(format!("{word}: there is no such option"));
        } else {
            positional.push(word);
        }
    }
    interpret(&given, &positional)
}

fn text(word: OsString) -> Result<String, String> {
    word.into_string().map_err(|word| format!("{word:?} is no text"))
}

fn option(name: &str) -> Result<(&'static str, bool), String> {
    if let Some(option) = OPTIONS.iter().find(|(known, _)| *known == name) {
        return Ok(*option);
    }
    let meant: Vec<_> = OPTIONS.iter().filter(|(known, _)| known.starts_with(name)).collect();
    match meant[..] {
        [option] => Ok(*option),
        [] => Err(format!("{name}: there is no such option")),
        _ => {
            let names: Vec<&str> = meant.iter().map(|(known, _)| *known).collect();
            Err(format!("{name} is not a unique prefix: {}?", names.join(", ")))
        }
    }
}

fn interpret(given: &[(&str, Option<String>)], positional: &[String]) -> Result<Arguments, String> {
    let has = |name: &str| given.iter().any(|(given, _)| *given == name);
    let value = |name: &str| given.iter().find(|(given, _)| *given == name).and_then(|(_, v)| v.clone());
    if has("--help") || has("--version") {
        let action = if has("--help") { Action::Help } else { Action::Version };
        return Ok(Arguments { action, repository_url: None, jobs: None });
    }
    for (number, (name, _)) in given.iter().enumerate() {
        if given[..number].iter().any(|(before, _)| before == name) {
            return Err(format!("{name} is given twice"));
        }
    }
    let forbid = |names: &[&str], with: &str| match names.iter().find(|name| has(name)) {
        Some(name) => Err(format!("{name} {with}")),
        None => Ok(()),
    };
    let action = match positional {
        [] => {
            forbid(&["--mkbootstrap"], "is an option of `mkpanda tree`")?;
            Action::Package { recursive: has("--recursive"), keep: has("--dont-clean-after-build") }
        }
        [tree, rest @ ..] if tree == "tree" && rest.len() <= 1 => {
            forbid(&["--recursive", "--dont-clean-after-build"], "is no option of `mkpanda tree`")?;
            Action::Tree { mkbootstrap: has("--mkbootstrap"), variant: rest.first().cloned() }
        }
        [tree, _, more, ..] if tree == "tree" => return Err(format!("{more}: there is no such argument")),
        [word, ..] => return Err(format!("{word}: there is no such command")),
    };
    let jobs = value("--jobs").map(|text| jobs(&text)).transpose()?;
    Ok(Arguments { action, repository_url: value("--repository-url"), jobs })
}

fn jobs(text: &str) -> Result<usize, String> {
    let number = text.parse().ok().filter(|number| (1..=JOBS_LIMIT).contains(number));
    number.ok_or_else(|| format!("--jobs is {text:?}; allowed is a number from 1 to {JOBS_LIMIT}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(line: &str, expect: Result<Arguments, &str>) {
        let found = parse(line.split_whitespace().map(OsString::from));
        match (found, expect) {
            (Err(found), Err(expect)) => assert!(found.contains(expect), "{line}: {found}"),
            (found, expect) => assert_eq!(found, expect.map_err(str::to_owned), "{line}"),
        }
    }

    fn plain(action: Action) -> Arguments {
        Arguments { action, repository_url: None, jobs: None }
    }

    #[test]
    fn packages_and_trees() {
        let package = |recursive, keep| plain(Action::Package { recursive, keep });
        check("", Ok(package(false, false)));
        check("--recursive --dont-clean-after-build", Ok(package(true, true)));
        check("--rec --dont", Ok(package(true, true)));
        let tree = |mkbootstrap, variant: Option<&str>| {
            plain(Action::Tree { mkbootstrap, variant: variant.map(str::to_owned) })
        };
        check("tree", Ok(tree(false, None)));
        check("tree --mkbootstrap installer", Ok(tree(true, Some("installer"))));
        check("--mk tree", Ok(tree(true, None)));
        let full = Arguments { repository_url: Some("http://r".into()), jobs: Some(3), ..tree(false, None) };
        check("tree --jobs 3 --repository-url=http://r", Ok(full.clone()));
        check("--rep http://r --jobs=3 tree", Ok(full));
        check("tree tree", Ok(tree(false, Some("tree"))));
    }

    #[test]
    fn help_wins() {
        check("--help", Ok(plain(Action::Help)));
        check("-h tree a b c", Ok(plain(Action::Help)));
        check("--version", Ok(plain(Action::Version)));
    }

    #[test]
    fn what_is_wrong_is_named() {
        check("--re", Err("--re is not a unique prefix: --repository-url, --recursive?"));
        check("--x", Err("--x: there is no such option"));
        check("-x", Err("-x: there is no such option"));
        check("forest", Err("forest: there is no such command"));
        check("tree a b", Err("b: there is no such argument"));
        check("tree --recursive", Err("--recursive is no option of `mkpanda tree`"));
        check("--mkbootstrap", Err("--mkbootstrap is an option of `mkpanda tree`"));
        check("--recursive=1", Err("--recursive must not have an argument"));
        check("--repository-url", Err("--repository-url requires argument"));
        check("--recursive --rec", Err("--recursive is given twice"));
        for jobs in ["0", "257", "x", "-1"] {
            check(&format!("--jobs {jobs}"), Err("allowed is a number from 1 to 256"));
        }
    }
}
