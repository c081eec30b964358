//! What pkgpanda and mkpanda take of a processor: 50 packages with 8,000 files, three versions of each, in the third of
//! which every tenth file has another name; and a tree of 30 trivial packages.
//!
//! `ORIGINAL` may name a folder in which `python3 -m pkgpanda.cli` is the original's pkgpanda; it is then measured in
//! the same run, on a root of its own.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::json;

use crate::table::Table;

const PACKAGES: usize = 50;
const ROUNDS: usize = 20;
const TREE: usize = 30;

/// One of the two: how it is called, and the root that is its own.
struct Rival {
    command: Vec<String>,
    environment: Option<(String, PathBuf)>,
    dir: PathBuf,
}

pub(crate) fn pkgpanda(program: &Path, table: &mut Table) {
    let scene = tempfile::tempdir().expect("a temporary directory");
    let tarballs = tarballs(scene.path());
    let ours = Rival {
        command: vec![program.display().to_string(), "pkgpanda".into()],
        environment: None,
        dir: scene.path().join("ours"),
    };
    measure(
        &ours,
        &tarballs,
        "pkgpanda",
        ["<= 0.018", "<= 0.019", "<= 0.028", "<= 0.028", "<= 0.030", "<= 0.032", "<= 0.022"],
        table,
    );
    if let Some(original) = std::env::var_os("ORIGINAL").map(PathBuf::from) {
        let theirs = Rival {
            command: ["python3", "-W", "ignore", "-m", "pkgpanda.cli"].map(str::to_owned).to_vec(),
            environment: Some(("PYTHONPATH".into(), original)),
            dir: scene.path().join("theirs"),
        };
        measure(&theirs, &tarballs, "the original's", [""; 7], table);
    }
}

fn measure(rival: &Rival, tarballs: &[Vec<PathBuf>; 3], name: &str, goals: [&str; 7], table: &mut Table) {
    fs::create_dir_all(rival.dir.join("conf/roles")).expect("the directory is writable");
    fs::create_dir_all(rival.dir.join("conf/setup-flags")).expect("the directory is writable");
    fs::create_dir_all(rival.dir.join("root/packages")).expect("the directory is writable");
    fs::write(rival.dir.join("conf/roles/master"), "").expect("the directory is writable");
    for tarball in tarballs.iter().flatten() {
        rival.run(&["add", &tarball.display().to_string()]);
    }
    let ids = |version: usize| -> Vec<String> { (0..PACKAGES).map(|at| id(at, version)).collect() };
    let activate = |version: usize| {
        let ids = ids(version);
        let all: Vec<&str> = std::iter::once("activate").chain(ids.iter().map(String::as_str)).collect();
        rival.run(&all);
    };
    // Once each, so that both were verified.
    (0..3).for_each(activate);
    let mut cost = |what: &str, goal: &str, run: &mut dyn FnMut(usize)| {
        let before = children_seconds();
        (0..ROUNDS).for_each(&mut *run);
        let each = (children_seconds() - before) / ROUNDS as f64;
        table.figure(&format!("{name} {what}, CPU"), "s", each, goal);
    };
    cost("list", goals[0], &mut |_| rival.run(&["list"]));
    cost("active", goals[1], &mut |_| rival.run(&["active"]));
    cost("activate, all 50 changed", goals[2], &mut |round| activate(round % 2));
    cost("activate, and 800 of 8,000 names", goals[3], &mut |round| activate([2, 0][round % 2]));
    cost("swap of one package", goals[4], &mut |round| rival.run(&["swap", &id(7, round % 2)]));
    cost("setup with one package changed", goals[5], &mut |round| {
        fs::write(rival.dir.join("root/bootstrap"), "").expect("the directory is writable");
        let active: Vec<String> =
            (0..PACKAGES).map(|at| id(at, usize::from(at != 9 || round % 2 == 0))).collect();
        let active = json!(active).to_string();
        fs::write(rival.dir.join("conf/setup-flags/active.json"), active).expect("the directory is writable");
        rival.run(&["setup"]);
    });
    cost("check", goals[6], &mut |_| rival.run(&["check"]));
}

impl Rival {
    fn run(&self, arguments: &[&str]) {
        let place = |name: &str| self.dir.join(name).display().to_string();
        let mut command = Command::new(&self.command[0]);
        command.args(&self.command[1..]);
        command.args(["--root", &place("root"), "--repository", &place("root/packages")]);
        command.args(["--config-dir", &place("conf"), "--no-systemd", "--rooted-systemd"]).args(arguments);
        command.envs(self.environment.clone()).stdout(Stdio::null()).current_dir("/");
        let ended = command.status().expect("the program starts");
        assert!(ended.success(), "{arguments:?}: {ended}");
    }
}

fn id(at: usize, version: usize) -> String {
    format!("pkg{at:02}--{}", ["a", "b", "c"][version].repeat(40))
}

/// 150 tarballs as mkpanda would write them, but for its manifest.
fn tarballs(dir: &Path) -> [Vec<PathBuf>; 3] {
    [0, 1, 2].map(|version| {
        let made = (0..PACKAGES).map(|at| {
            let tree = dir.join("tree");
            let _ = fs::remove_dir_all(&tree);
            for (folder, files) in
                [("bin", 20), (&format!("lib/part{at:02}"), 100), ("etc", 20), ("include", 20)]
            {
                fs::create_dir_all(tree.join(folder)).expect("the directory is writable");
                for file in 0..files {
                    let name = if version == 2 && file % 10 == 0 { "other" } else { "" };
                    let name = format!("{folder}/file{at:02}-{file:03}{name}");
                    fs::write(tree.join(name), format!("{at} {file} {version}\n"))
                        .expect("the directory is writable");
                }
            }
            let info = json!({"environment": {format!("VALUE_{at}"): version.to_string()}, "requires": []});
            fs::write(tree.join("pkginfo.json"), info.to_string()).expect("the directory is writable");
            let tarball = dir.join(format!("{}.tar.xz", id(at, version)));
            let mut tar = Command::new("tar");
            tar.args(["--numeric-owner", "--owner=0", "--group=0", "-cJf"]).arg(&tarball);
            let ended = tar.args(["-C"]).arg(&tree).arg(".").status().expect("tar is there");
            assert!(ended.success(), "tar: {ended}");
            tarball
        });
        made.collect()
    })
}

pub(crate) fn mkpanda(program: &Path, table: &mut Table) {
    let scene = tempfile::tempdir().expect("a temporary directory");
    let packages = scene.path().join("packages");
    for at in 0..TREE {
        let dir = packages.join(format!("pkg{at:02}"));
        fs::create_dir_all(&dir).expect("the directory is writable");
        let requires: Vec<String> =
            at.checked_sub(1).map(|before| format!("pkg{before:02}")).into_iter().collect();
        let info = json!({"requires": requires, "docker": "dcos-base"});
        fs::write(dir.join("buildinfo.json"), info.to_string()).expect("the directory is writable");
        fs::write(
            dir.join("build"),
            "mkdir -p \"$PKG_PATH/bin\"\necho \"$PKG_NAME\" > \"$PKG_PATH/bin/$PKG_NAME\"\n",
        )
        .expect("the directory is writable");
    }
    fs::write(packages.join("treeinfo.json"), "{}").expect("the directory is writable");
    let docker = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docker");
    std::os::unix::fs::symlink(docker, scene.path().join("docker")).expect("the directory is writable");
    let run = |what: &str, goal: &str, table: &mut Table| {
        let before = children_seconds();
        let mut command = Command::new(program);
        command.args(["mkpanda", "tree"]).current_dir(&packages).stdout(Stdio::null()).stderr(Stdio::null());
        let ended = command.status().expect("the program starts");
        assert!(ended.success(), "mkpanda tree: {ended}");
        table.figure(&format!("mkpanda tree of {TREE}, {what}, CPU"), "s", children_seconds() - before, goal);
    };
    run("cold, with the build image", "", table);
    for folder in ["packages", "complete", "bootstrap"] {
        let _ = fs::remove_dir_all(packages.join("cache").join(folder));
    }
    run("cold", "<= 0.18", table);
    run("warm", "<= 0.04", table);
}

/// Seconds of processor time of all children that were waited for.
fn children_seconds() -> f64 {
    let stat = fs::read_to_string("/proc/self/stat").expect("/proc is mounted");
    let fields: Vec<&str> =
        stat.rsplit(") ").next().map(|rest| rest.split(' ').collect()).unwrap_or_default();
    let ticks =
        |at: usize| fields.get(at).and_then(|field| field.parse::<f64>().ok()).expect("a number of ticks");
    // After the name in brackets: cutime and cstime, in hundredths of a second.
    (ticks(13) + ticks(14)) / 100.0
}
