use std::ffi::OsString;
use std::fs;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::error::Error;
use crate::{LOCAL, done, git, plain_git, run};

/// A repository that somebody works in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Work {
    /// The commit that is checked out, 40 hexadecimal digits.
    pub commit: String,
    /// What differs from it, as `git status --porcelain` writes it: changed files and files that git does not know,
    /// but for those it is told to ignore.
    pub changes: Vec<String>,
}

/// What is checked out at `path`, which must be the top of a repository.
///
/// # Errors
/// When it is none, or has no commit yet.
pub fn work(path: &Path) -> Result<Work, Error> {
    let on = path.display().to_string();
    let mut command = git(path);
    command.args(["rev-parse", "--show-cdup", "--verify", "--quiet", "HEAD^{commit}"]);
    let ran = run(command, LOCAL)?;
    let said = String::from_utf8_lossy(&ran.stdout);
    // The way up to the top: nothing, if this is it.
    let mut lines = said.lines();
    let (up, commit) = (lines.next(), lines.next());
    match (ran.status.success(), up, commit) {
        (true, Some(""), Some(commit)) if is_commit(commit) => {
            let mut command = git(path);
            command.args(["status", "--porcelain", "--untracked-files=normal", "--ignore-submodules=dirty"]);
            let status = done(command, LOCAL, "look for changes in", &on)?;
            let changes = String::from_utf8_lossy(&status.stdout).lines().map(str::to_owned).collect();
            Ok(Work { commit: commit.to_owned(), changes })
        }
        (_, Some(""), _) => Err(Error::Git {
            attempt: "find the commit that is checked out in",
            on,
            said: "there is none".to_owned(),
        }),
        _ => Err(Error::NoRepository { path: path.to_owned() }),
    }
}

/// The commit that `name` (a branch, a tag, a commit's digits) means in a repository or mirror; none if it has none.
///
/// # Errors
/// When `repository` is none.
pub fn resolve(repository: &Path, name: &str) -> Result<Option<String>, Error> {
    if name.starts_with('-') || name.contains(|c: char| c.is_control() || c.is_whitespace()) {
        return Err(Error::Name { found: name.to_owned(), what: "name of a commit" });
    }
    let mut command = git(repository);
    command.args(["rev-parse", "--verify", "--quiet"]).arg(format!("{name}^{{commit}}"));
    let ran = run(command, LOCAL)?;
    let said = String::from_utf8_lossy(&ran.stdout).trim().to_owned();
    let (attempt, on) = ("find a commit in", repository.display().to_string());
    match ran.code() {
        0 if is_commit(&said) => Ok(Some(said)),
        0 => Err(Error::Answer { attempt, on, said }),
        1 => Ok(None),
        // A name's digits may be those of something else than a commit.
        128 if ran.stderr.trim_ascii().is_empty() => Ok(None),
        _ => Err(Error::Git { attempt, on, said: ran.last_lines(2) }),
    }
}

/// Writes the files of a commit below the directory `into`, which must be there; no `.git` comes with them. Neither
/// the repository nor what is checked out in it changes.
///
/// # Errors
/// When the repository does not have the commit, or a file cannot be written. What was written stays.
pub fn checkout(repository: &Path, commit: &str, into: &Path) -> Result<(), Error> {
    let commit = known(repository, commit)?;
    let failed = |attempt, path: &Path| {
        let path = path.to_owned();
        move |source| Error::File { attempt, path, source }
    };
    let into = fs::canonicalize(into).map_err(failed("find", into))?;
    let index = Index(beside(&into));
    let mut command = git(repository);
    command.args(["rev-parse", "--absolute-git-dir"]);
    let found = done(command, LOCAL, "find", &repository.display().to_string())?;
    let directory = OsString::from_vec(found.stdout.trim_ascii_end().to_vec());
    let on = into.display().to_string();
    let with_index = |words: &[&str], attempt| {
        let mut command = plain_git(&into);
        command.env("GIT_DIR", &directory).env("GIT_WORK_TREE", &into).env("GIT_INDEX_FILE", &index.0);
        done(command_with(command, words), LOCAL, attempt, &on).map(drop)
    };
    with_index(&["read-tree", &commit], "read the files of a commit for")?;
    with_index(&["checkout-index", "--all", "--force", "--quiet"], "write the files of a commit to")
}

fn command_with(mut command: Command, words: &[&str]) -> Command {
    command.args(words);
    command
}

/// The list of files that git makes on its way; removed with this value.
struct Index(PathBuf);

impl Drop for Index {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

fn beside(directory: &Path) -> PathBuf {
    let mut name = directory.as_os_str().to_owned();
    name.push(format!(".index-{}", std::process::id()));
    name.into()
}

fn known(repository: &Path, commit: &str) -> Result<String, Error> {
    let absent = || Error::NoCommit { repository: repository.to_owned(), commit: commit.to_owned() };
    resolve(repository, commit)?.ok_or_else(absent)
}

fn is_commit(text: &str) -> bool {
    text.len() == 40 && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}
