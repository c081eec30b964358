use std::cell::RefCell;
use std::fs;
use std::io::Read;
use std::process::Command;
use std::time::Instant;

use super::*;

#[test]
fn names_of_the_original_mean_folders() {
    let check = |docker: &str, folder: &str, is_meant: bool| {
        assert_eq!((folder_name(docker), is_meant_for_a_folder(docker)), (folder, is_meant), "{docker}");
    };
    check("dcos/dcos-builder:dcos-builder_dockerdir-latest", "dcos-builder", true);
    check("dcos-builder", "dcos-builder", true);
    check("dcos-base", "dcos-base", true);
    check("debian:12", "debian:12", false);
    check("registry.example/a/b@sha256:00", "registry.example/a/b@sha256:00", false);
    check("dcos/dcos-builder:other", "dcos/dcos-builder:other", false);
    for bad in ["", "..", "../x", ".x", "a/b"] {
        assert!(!is_plain(bad), "{bad}");
    }
}

/// Definitions and a cache, alone in a directory.
struct Scene {
    dir: tempfile::TempDir,
}

impl Scene {
    fn new() -> Scene {
        Scene { dir: tempfile::tempdir().unwrap() }
    }

    /// A scene, if images can be made here.
    fn with_apt() -> Option<Scene> {
        let known = Command::new("apt-cache").args(["show", "bash"]).output();
        if !host::is_root() || !known.is_ok_and(|output| output.status.success()) {
            eprintln!("SKIP: needs root, and an apt with lists of packages (apt-get update)");
            return None;
        }
        Some(Scene::new())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn define(&self, name: &str, text: &str) {
        let folder = self.path("docker").join(name);
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("image.json"), text).unwrap();
    }

    /// The image, and what was said meanwhile.
    fn get(&self, docker: &str) -> (Image, Vec<String>) {
        let said = RefCell::new(Vec::new());
        let say = |text: &str| said.borrow_mut().push(text.to_owned());
        let image = Images::new(&self.path("docker"), &self.path("cache")).get(docker, &say);
        let image = image.unwrap_or_else(|error| panic!("{}", base::with_causes(&error)));
        ((*image).clone(), said.into_inner())
    }

    #[track_caller]
    fn check_fails(&self, docker: &str, expected: &[&str]) {
        let error = Images::new(&self.path("docker"), &self.path("cache")).get(docker, &|_| {}).unwrap_err();
        let error = base::with_causes(&error);
        for text in expected {
            assert!(error.contains(text), "{error:?} has no {text:?}");
        }
    }

    fn names(&self, name: &str) -> Vec<String> {
        let entries = fs::read_dir(self.path(name)).into_iter().flatten();
        let mut names: Vec<String> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }
}

/// Runs a script in the image.
fn run(image: &Image, script: &str) -> String {
    let root = image.layers.last().unwrap();
    let mut command = Command::new("/usr/sbin/chroot");
    command.arg(root).args(["/bin/bash", "-e", "-c", script]).env_clear().env("PATH", "/usr/bin:/bin");
    let output = command.output().unwrap();
    assert!(output.status.success(), "{script}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn an_image_is_made_once_and_is_the_same_elsewhere() {
    let Some(scene) = Scene::with_apt() else { return };
    scene.define("small", r#"{"debian": ["hostname"], "environment": {"B": "2", "A": "1"}}"#);
    let (image, said) = scene.get("small");
    assert!(said.len() == 3 && said.iter().all(|text| text.starts_with("small: ")), "{said:?}");
    let digits = image.id.strip_prefix("sha256:").unwrap();
    assert_eq!(image.layers, [scene.path("cache/docker").join(digits).join("root")]);
    assert_eq!(image.env, [("A".to_owned(), "1".to_owned()), ("B".to_owned(), "2".to_owned())]);
    assert!(image.debs.is_sorted() && image.debs.iter().any(|deb| deb.package == "hostname"));
    assert!(image.layers[0].join("usr/bin/hostname").is_file());
    assert_eq!(scene.get("small"), (image.clone(), Vec::new()));

    // The image alone has gone: what it is made of stays.
    host::remove_tree(&scene.path("cache/docker").join(digits)).unwrap();
    let (again, said) = scene.get("small");
    assert_eq!(again, image);
    assert!(!said.iter().any(|text| text.contains("asking apt")), "{said:?}");

    let other = Scene::new();
    other
        .define("other-name", r#"{"environment": {"A": "1", "B": "2"}, "debian": ["hostname", "hostname"]}"#);
    assert_eq!(other.get("other-name").0.id, image.id);
    other.define("other-name", r#"{"debian": ["hostname"]}"#);
    assert_ne!(other.get("other-name").0.id, image.id);
}

#[test]
fn files_of_its_own_lie_over_the_packages_and_what_a_killed_run_left_goes() {
    let Some(scene) = Scene::with_apt() else { return };
    scene.define("small", r#"{"debian": ["hostname"]}"#);
    let over = scene.path("docker/small/root");
    fs::create_dir_all(over.join("usr/bin")).unwrap();
    fs::write(over.join("usr/bin/hostname"), "mine").unwrap();
    let half = scene.path("cache/docker/0123.new/root");
    fs::create_dir_all(&half).unwrap();
    let (image, _) = scene.get("small");
    assert_eq!(fs::read_to_string(image.layers[0].join("usr/bin/hostname")).unwrap(), "mine");
    assert!(!half.exists());
    fs::write(over.join("usr/bin/hostname"), "another").unwrap();
    let (other, _) = scene.get("small");
    assert_ne!(other.id, image.id);
    assert_eq!(fs::read_to_string(other.layers[0].join("usr/bin/hostname")).unwrap(), "another");
    assert_eq!(scene.names("cache/docker").iter().filter(|name| name.ends_with(".new")).count(), 0);
}

#[test]
fn what_is_wrong_is_named_and_leaves_nothing() {
    let Some(scene) = Scene::with_apt() else { return };
    scene.check_fails("absent", &["the image absent is not defined", "docker/absent"]);
    scene.check_fails("dcos/dcos-builder:absent_dockerdir-latest", &["is not defined", "docker/absent"]);
    scene.check_fails("../docker", &["../docker cannot be had", "neither a folder below docker nor"]);
    scene.define("typo", r#"{"debain": []}"#);
    scene.check_fails("typo", &["image typo", "typo/image.json", "unknown field `debain`"]);
    scene.define("option", r#"{"debian": ["-oDir=/"]}"#);
    scene.check_fails("option", &["image option", "'-oDir=/' names no Debian package"]);
    scene.define("version", r#"{"debian": ["bash=0.1"]}"#);
    scene.check_fails("version", &["image version", "no version '0.1' of the package 'bash'", "they offer "]);
    assert_eq!(scene.names("cache/docker"), [""; 0]);
}

/// A file system of a few megabytes, while this value lives.
struct Small(PathBuf);

impl Small {
    fn mount(path: PathBuf) -> Small {
        fs::create_dir_all(&path).unwrap();
        let mounted =
            Command::new("mount").args(["-t", "tmpfs", "-o", "size=24m", "tmpfs"]).arg(&path).status();
        assert!(mounted.unwrap().success());
        Small(path)
    }

    fn grow(&self, size: &str) {
        let option = format!("remount,size={size}");
        assert!(Command::new("mount").args(["-o", &option]).arg(&self.0).status().unwrap().success());
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(&self.0).status();
    }
}

#[test]
fn a_full_disk_leaves_no_half_image() {
    let Some(scene) = Scene::with_apt() else { return };
    scene.define("small", r#"{"debian": ["hostname"]}"#);
    // apt's own index takes tens of megabytes: it lies elsewhere.
    let (apt, cache) = (scene.path("apt"), scene.path("cache"));
    fs::create_dir(&apt).unwrap();
    let small = Small::mount(cache.clone());
    std::os::unix::fs::symlink(&apt, cache.join("apt")).unwrap();
    let full = fs::File::create(cache.join("full")).unwrap();
    // Enough for the packages, not for what is in them.
    std::io::copy(&mut std::io::repeat(0).take(14 << 20), &mut &full).unwrap();
    scene.check_fails("small", &["image small cannot be had", "No space left on device"]);
    assert_eq!(scene.names("cache/docker"), ["archives"]);
    small.grow("100m");
    let (image, _) = scene.get("small");
    assert!(image.layers[0].join("usr/bin/hostname").is_file());
}

#[test]
fn an_image_of_a_tarball_is_read_once() {
    if !host::is_root() {
        eprintln!("SKIP: needs root");
        return;
    }
    let scene = Scene::new();
    let script = "mkdir layer; echo hello > layer/file; tar -C layer -cf layer.tar .; \
        sum=$(sha256sum layer.tar | cut -d' ' -f1); \
        printf '{\"architecture\":\"amd64\",\"os\":\"linux\",\"config\":{\"Env\":[\"A=1\",\"B=x=y\"]},\
        \"rootfs\":{\"type\":\"layers\",\"diff_ids\":[\"sha256:%s\"]}}' $sum > config.json; \
        printf '[{\"Config\":\"config.json\",\"RepoTags\":[],\"Layers\":[\"layer.tar\"]}]' > manifest.json; \
        tar -cf image.tar manifest.json config.json layer.tar; sha256sum config.json | cut -d' ' -f1";
    let output =
        Command::new("sh").args(["-e", "-c", script]).current_dir(scene.dir.path()).output().unwrap();
    let id = String::from_utf8(output.stdout).unwrap();
    let tarball = scene.path("image.tar");
    let (image, said) = scene.get(tarball.to_str().unwrap());
    assert_eq!((image.id.as_str(), said.len()), (format!("sha256:{}", id.trim()).as_str(), 1));
    assert_eq!(image.env, [("A".to_owned(), "1".to_owned()), ("B".to_owned(), "x=y".to_owned())]);
    assert_eq!(fs::read_to_string(image.layers[0].join("file")).unwrap(), "hello\n");
    fs::remove_file(&tarball).unwrap();
    assert_eq!(scene.get(tarball.to_str().unwrap()), (image, Vec::new()));
    scene.check_fails("/absent.tar", &["the image /absent.tar cannot be had", "does not exist"]);
}

/// The images of this repository: small, quickly made, and able to do what scripts of packages do.
#[test]
fn our_own_images_work() {
    let Some(scene) = Scene::with_apt() else { return };
    let repository = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../docker");
    std::os::unix::fs::symlink(repository.canonicalize().unwrap(), scene.path("docker")).unwrap();
    let megabytes = |image: &Image| -> u64 {
        let output =
            Command::new("du").args(["-sxm", "--apparent-size"]).args(&image.layers).output().unwrap();
        String::from_utf8(output.stdout).unwrap().split_whitespace().next().unwrap().parse().unwrap()
    };
    let script = "cd /tmp; umask 022; mkdir -p a/b; echo 'x=$X' > a/b/c; X=1 envsubst < a/b/c | sed s/x/y/ | grep -q y=1; \
                  tar -cJf a.tar.xz a; rm -r a; tar -xf a.tar.xz; find a -type f | xargs awk '{print}'; \
                  rm -r a a.tar.xz; echo text | gzip | gunzip | sha1sum | cut -c-4";
    let start = Instant::now();
    let (base, _) = scene.get("dcos-base");
    assert_eq!(run(&base, script), "x=$X\naa78\n");
    assert!(megabytes(&base) < 120, "{} MB", megabytes(&base));
    let (builder, _) = scene.get("dcos/dcos-builder:dcos-builder_dockerdir-latest");
    eprintln!("{:?}: {} and {} MB", start.elapsed(), megabytes(&base), megabytes(&builder));
    assert_eq!(run(&builder, script), "x=$X\naa78\n");
    assert!(megabytes(&builder) < 350, "{} MB", megabytes(&builder));
    let compile = "cd /tmp; printf 'int main(void) { return 7; }' > x.c; printf 'all:\\n\\tcc -o x x.c\\n' > Makefile; \
                   make -s; ./x || echo $?; printf '#include <string>\\nint main() { return std::string().size(); }' > y.cc; \
                   c++ -o y y.cc; ./y; echo '{\"a\": [1, 2]}' | jq -c .a; which curl openssl patch unzip zstd file strip; rm *";
    let expected = "7\n[1,2]\n/usr/bin/curl\n/usr/bin/openssl\n/usr/bin/patch\n/usr/bin/unzip\n/usr/bin/zstd\n\
                    /usr/bin/file\n/usr/bin/strip\n";
    assert_eq!(run(&builder, compile), expected);
}
