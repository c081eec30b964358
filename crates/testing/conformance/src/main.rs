//! Drives a cluster of ours through the exchanges that were recorded with the real Mesos, and compares.
//!
//! `conformance PROGRAM FOLDER DOCUMENT [OURS]`: the program to start, the folder of recordings, the document
//! whose table lists the differences that are meant, and a folder that our answers are written to. It prints
//! each difference and ends with one line of counts; it ends with 0 if there are no other differences than
//! those.
//!
//! How: `plan` starts clusters, `course` leads each from state to state as the recordings were made,
//! `names` puts our ids into recorded requests, `compare` and `events` compare by the rules of `shape`.
//!
//! Deliberately absent: rules for single recordings. What is volatile is told by keys and shapes, which state
//! an exchange belongs to by the course, its name or its time.

mod cluster;
mod compare;
mod course;
mod deliberate;
mod events;
mod executor;
mod http;
mod names;
mod plan;
mod proto;
mod report;
mod run;
mod session;
mod shape;
mod transcript;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use deliberate::Deliberate;
use plan::Plan;
use transcript::Book;

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    match words.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["executor"] => executor::main(),
        [program, folder, document] => {
            conform(Path::new(program), Path::new(folder), Path::new(document), None)
        }
        [program, folder, document, ours] => {
            conform(Path::new(program), Path::new(folder), Path::new(document), Some(Path::new(ours)))
        }
        _ => {
            eprintln!("usage: conformance PROGRAM FOLDER DOCUMENT [OURS]");
            ExitCode::FAILURE
        }
    }
}

fn conform(program: &Path, folder: &Path, document: &Path, ours: Option<&Path>) -> ExitCode {
    if !rustix::process::geteuid().is_root() {
        eprintln!("SKIP conformance: tasks of the recordings run in containers, which needs root");
        return ExitCode::SUCCESS;
    }
    let read = Book::read(folder).map_err(|error| error.to_string()).and_then(|book| {
        let deliberate =
            Deliberate::read(document).map_err(|error| format!("read {}: {error}", document.display()))?;
        let program =
            program.canonicalize().map_err(|error| format!("find {}: {error}", program.display()))?;
        Ok((book, deliberate, program))
    });
    let (book, deliberate, program): (Book, Deliberate, PathBuf) = match read {
        Ok(read) => read,
        Err(error) => {
            eprintln!("Error: {error}");
            return ExitCode::FAILURE;
        }
    };
    for other in &book.others {
        eprintln!("conformance: {other} is no recording");
    }
    let outcomes = Plan::new(&book, program).drive();
    if let Some(Err(error)) = ours.map(|ours| report::write(&outcomes, ours)) {
        eprintln!("Error: write our answers: {error}");
    }
    let totals = report::report(&outcomes, &deliberate);
    if totals.failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
