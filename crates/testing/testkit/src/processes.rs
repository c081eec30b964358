use std::fs;

/// A process as `/proc` shows it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Process {
    /// As the root pid namespace counts.
    pub pid: u32,
    /// Of its parent.
    pub parent: u32,
    /// Clock ticks after boot; with the pid this names one process for ever.
    pub start_time: u64,
    /// The arguments, joined by spaces.
    pub command: String,
}

/// All processes that are no zombies and whose arguments contain `text`.
pub fn running(text: &str) -> Vec<Process> {
    all().into_iter().filter(|process| process.command.contains(text)).collect()
}

/// The processes below `pid`, itself not among them.
pub fn descendants(pid: u32) -> Vec<Process> {
    let all = all();
    let mut found: Vec<Process> = Vec::new();
    let mut parents = vec![pid];
    while let Some(parent) = parents.pop() {
        for process in all.iter().filter(|process| process.parent == parent) {
            parents.push(process.pid);
            found.push(process.clone());
        }
    }
    found.sort();
    found
}

/// The memory of a process in KiB, shared pages divided among those who share them. `None` if it is
/// gone.
pub fn pss_kib(pid: u32) -> Option<u64> {
    let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok()?;
    let line = rollup.lines().find_map(|line| line.strip_prefix("Pss:"))?;
    line.split_whitespace().next()?.parse().ok()
}

fn all() -> Vec<Process> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let mut found: Vec<Process> =
        entries.filter_map(|entry| read(entry.file_name().to_str()?.parse().ok()?)).collect();
    found.sort();
    found
}

fn read(pid: u32) -> Option<Process> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    if fields.first() == Some(&"Z") {
        return None;
    }
    let arguments = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
    let command = String::from_utf8_lossy(&arguments).replace('\0', " ").trim_end().to_owned();
    Some(Process {
        pid,
        parent: fields.get(1)?.parse().ok()?,
        start_time: fields.get(19)?.parse().ok()?,
        command,
    })
}
