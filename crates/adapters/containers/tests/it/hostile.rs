//! Images that are made to get out.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use containers::{Exit, Isolation, Mount};

use crate::scene::{Scene, block_on};

/// An image whose root holds these symbolic links.
fn with_links(scene: &Scene, links: &[(&str, &str)]) -> std::path::PathBuf {
    let layer = scene.layer("links");
    for (link, target) in links {
        let link = layer.join(link);
        fs::create_dir_all(link.parent().unwrap()).unwrap();
        symlink(target, link).unwrap();
    }
    layer
}

#[test]
fn the_kernels_places_must_be_directories() {
    for place in ["dev", "proc", "sys"] {
        for target in ["/", "/bin", "..", "/etc", "missing"] {
            let Some(scene) = Scene::new(Isolation::Full) else { return };
            let layer = with_links(&scene, &[(place, target)]);
            let spec = scene.image_spec("link", &[&layer], "true");
            let error = block_on(scene.launch(&spec)).unwrap_err().to_string();
            let expect = format!("cannot mount /{place}: the image's /{place} is no directory but a Symlink");
            assert_eq!(error, expect, "{target}");
            scene.assert_gone(&spec.container_id);
        }
        let Some(scene) = Scene::new(Isolation::Full) else { return };
        let layer = scene.layer("file");
        fs::write(layer.join(place), "").unwrap();
        let spec = scene.image_spec("file", &[&layer], "true");
        let error = block_on(scene.launch(&spec)).unwrap_err().to_string();
        assert!(error.ends_with("is no directory but a RegularFile"), "{error}");
        scene.assert_gone(&spec.container_id);
    }
}

#[test]
fn mounts_stay_inside_whatever_links_say() {
    let Some(scene) = Scene::new(Isolation::Full) else { return };
    let outside = scene.directory.join("outside");
    fs::create_dir(&outside).unwrap();
    let outside_text = outside.to_str().unwrap();
    let up = "../".repeat(20) + outside_text.trim_start_matches('/');
    let layer = with_links(
        &scene,
        &[
            ("etc/resolv.conf", &format!("{outside_text}/resolv.conf")),
            ("mnt", &up),
            ("data", "/proc/1/root/tmp"),
        ],
    );
    let source = scene.directory.join("source");
    fs::create_dir(&source).unwrap();
    fs::write(source.join("f"), "in\n").unwrap();
    let mut spec = scene.image_spec("stay", &[&layer], "cat /etc/resolv.conf /mnt/mesos/sandbox/f");
    spec.mounts =
        vec![Mount::bind(source.join("f"), "/etc/resolv.conf"), Mount::bind(&source, "/mnt/mesos/sandbox")];
    assert_eq!(scene.run(&spec), ("in\nin\n".into(), Exit::Code(0)));
    assert_eq!(fs::read_dir(&outside).unwrap().count(), 0, "nothing was made outside");
    // The kernel's own links count by what they say, not by where they lead.
    let mut spec = scene.image_spec("proc", &[&layer], "cat /tmp/f");
    spec.mounts = vec![Mount::bind(&source, "/data")];
    assert_eq!(scene.run(&spec), ("in\n".into(), Exit::Code(0)));
}

#[test]
fn links_in_a_volume_of_somebody_else_stay_inside_too() {
    let Some(scene) = Scene::new(Isolation::Full) else { return };
    let (volume, source) = (scene.directory.join("volume"), scene.directory.join("source"));
    fs::create_dir(&volume).unwrap();
    fs::create_dir(&source).unwrap();
    fs::write(source.join("f"), "in\n").unwrap();
    symlink("/etc", volume.join("etc")).unwrap();
    let mut spec = scene.image_spec("volume", &[], "cat /etc/below/f; ls -A /v");
    spec.mounts = vec![Mount::bind(&volume, "/v"), Mount::bind(&source, "/v/etc/below")];
    assert_eq!(scene.run(&spec), ("in\netc\n".into(), Exit::Code(0)));
    assert!(!Path::new("/etc/below").exists());
}

#[test]
fn user_databases_may_be_anything() {
    let Some(scene) = Scene::new(Isolation::Full) else { return };
    let layer = scene.layer("etc");
    fs::create_dir(layer.join("etc")).unwrap();
    let fifo = layer.join("etc/passwd");
    rustix::fs::mknodat(rustix::fs::CWD, &fifo, rustix::fs::FileType::Fifo, 0o644.into(), 0).unwrap();
    let mut spec = scene.image_spec("fifo", &[&layer], "true");
    spec.user = Some("app".into());
    let error = block_on(scene.launch(&spec)).unwrap_err().to_string();
    assert!(error.contains("cannot find user app"), "{error}");
    scene.assert_gone(&spec.container_id);
}
