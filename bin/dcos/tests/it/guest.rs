//! The program on a kernel with cgroup v2 only: a virtual machine made of a kernel, busybox and the
//! program, which runs a script and reports on its console. `make test` fetches the kernel and names it
//! in `DCOS_TEST_KERNEL`; its modules are beside it.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;
use std::{fs, io};

use testkit::until;

use crate::apps::DCOS;

/// Software emulation is about ten times slower than the machine itself.
const PATIENCE: Duration = Duration::from_secs(300);

const INIT: &str = r#"#!/bin/busybox sh
for module in /modules/*; do /bin/busybox insmod $module; done
/bin/busybox mount -t tmpfs tmpfs /new
/bin/busybox cp -a /bin /run-in-guest /new/
/bin/busybox mkdir -p /new/proc /new/sys /new/dev /new/tmp /new/etc /new/var/lib /new/run
echo 'root:x:0:0:root:/:/bin/sh' > /new/etc/passwd
exec /bin/busybox switch_root /new /run-in-guest
"#;

/// Each line that begins with a word in capitals is read by the test.
const SCRIPT: &str = r#"#!/bin/busybox sh
export PATH=/bin
/bin/busybox --install -s /bin
mount -t proc proc /proc; mount -t sysfs sys /sys; mount -t devtmpfs dev /dev
mount -t cgroup2 cgroup /sys/fs/cgroup
ip link set lo up
echo "CONTROLLERS $(cat /sys/fs/cgroup/cgroup.controllers)"
dcos up > /tmp/up 2>&1 &
tries() { n=$1; shift; while ! "$@" > /dev/null 2>&1; do n=$((n-1)); [ $n = 0 ] && return 1; sleep 1; done; }
post() { wget -q -O - --header 'Content-Type: application/json' --post-data "$1" http://127.0.0.1/marathon/v2/apps > /tmp/post 2>&1; }
get() { wget -q -O - "http://127.0.0.1/$1"; }
holds() { get "$1" | grep -q "$2"; }
tries 120 grep -q '^READY' /tmp/up && echo "READY yes" || cat /tmp/up
post '{"id":"/web","cmd":"echo hello > index.html; exec busybox httpd -f -p $HOST:$PORT0 -h .","cpus":0.1,"mem":32,"instances":2,"labels":{"DCOS_SERVICE_NAME":"web","DCOS_SERVICE_SCHEME":"http","DCOS_SERVICE_PORT_INDEX":"0"},"healthChecks":[{"protocol":"HTTP","path":"/","portIndex":0,"intervalSeconds":2,"timeoutSeconds":10,"gracePeriodSeconds":60}]}' || cat /tmp/post
tries 120 holds marathon/v2/apps//web '"tasksHealthy":2' && echo "HEALTHY yes" || get marathon/v2/apps//web
tries 60 holds service/web/ hello && echo "ROUTED yes"
mkdir -p /tmp/image/root/bin /tmp/image/root/tmp && cd /tmp/image && cp /bin/busybox root/bin/ && ln -s busybox root/bin/sh
tar -C root -cf layer.tar . && layer=$(sha256sum layer.tar | cut -d' ' -f1)
echo "{\"architecture\":\"amd64\",\"os\":\"linux\",\"config\":{\"Env\":[\"PATH=/bin\"]},\"rootfs\":{\"type\":\"layers\",\"diff_ids\":[\"sha256:$layer\"]}}" > config.json
echo '[{"Config":"config.json","RepoTags":["boxed:1"],"Layers":["layer.tar"]}]' > manifest.json
tar -cf /tmp/boxed.tar manifest.json config.json layer.tar; cd /
post '{"id":"/boxed","cmd":"busybox wget -q -O /tmp/info.html http://172.31.254.1/marathon/v2/info; echo boxed > /tmp/index.html; exec busybox httpd -f -p 8080 -h /tmp","cpus":0.1,"mem":32,"container":{"type":"MESOS","docker":{"image":"file:///tmp/boxed.tar"},"portMappings":[{"containerPort":8080,"hostPort":0}]},"networks":[{"mode":"container/bridge"}],"labels":{"DCOS_SERVICE_NAME":"boxed","DCOS_SERVICE_SCHEME":"http","DCOS_SERVICE_PORT_INDEX":"0"}}' || cat /tmp/post
tries 60 holds service/boxed/ boxed && echo "BRIDGED yes" || get 'marathon/v2/apps//boxed?embed=app.lastTaskFailure'
holds service/boxed/info.html '"name":"marathon"' && echo "GATEWAY yes"
post '{"id":"/hog","cmd":"exec busybox dd if=/dev/zero of=/dev/null bs=300M count=100","cpus":0.1,"mem":32}' || cat /tmp/post
tries 120 holds 'marathon/v2/apps//hog?embed=app.lastTaskFailure' 'Memory limit exceeded' && echo "OOM yes" || get 'marathon/v2/apps//hog?embed=app.lastTaskFailure'
echo "LIMIT $(cat $(find /sys/fs/cgroup -name memory.max | xargs grep -l '^67108864$' | head -1) 2>/dev/null)"
kill -TERM $(pidof dcos | tr ' ' '\n' | sort -n | head -1); sleep 2; dcos down > /tmp/down 2>&1 || cat /tmp/down
left() { [ "$(ls /sys/class/net)" = lo ] && [ -z "$(find /sys/fs/cgroup -mindepth 2 -type d | grep -v '/system\|/init' | grep dcos/)" ]; }
tries 20 left && echo "LEFT nothing" || find /sys/fs/cgroup /sys/class/net -type d -o -type l
tail -n 20 /tmp/up
echo "END"
poweroff -f
"#;

#[test]
fn web_image_and_memory_hog_run_on_cgroup_v2() {
    let Some(kernel) = std::env::var_os("DCOS_TEST_KERNEL").map(PathBuf::from).filter(|path| path.is_file())
    else {
        eprintln!("SKIP the cgroup v2 guest: DCOS_TEST_KERNEL names no kernel (make test fetches one)");
        return;
    };
    let Some(emulator) = on_path("qemu-system-x86_64") else {
        eprintln!("SKIP the cgroup v2 guest: qemu-system-x86_64 is not installed");
        return;
    };
    let dir = tempfile::tempdir().unwrap();
    let (initrd, console) = (dir.path().join("initrd"), dir.path().join("console"));
    let modules = kernel.with_file_name("modules");
    fs::write(&initrd, initramfs(dir.path(), &modules).unwrap()).unwrap();
    let mut guest = Command::new(emulator)
        .args(["-accel", "tcg", "-m", "2048", "-smp", "2", "-display", "none", "-no-reboot", "-nic", "none"])
        .args(["-append", "console=ttyS0 quiet panic=-1 rdinit=/init"])
        .arg("-kernel")
        .arg(kernel)
        .arg("-initrd")
        .arg(initrd)
        .arg("-serial")
        .arg(format!("file:{}", console.display()))
        .stdin(Stdio::null())
        .spawn()
        .unwrap();
    let ended = until(PATIENCE, || guest.try_wait().unwrap());
    let _ = guest.kill();
    let _ = guest.wait();
    let said = String::from_utf8_lossy(&fs::read(console).unwrap()).into_owned();
    assert!(ended.is_some(), "the guest did not end; it said:\n{said}");
    let found = |line: &str| said.lines().any(|found| found.trim_end().ends_with(line));
    assert!(said.contains("CONTROLLERS cpuset cpu io memory"), "{said}");
    for line in [
        "READY yes",
        "HEALTHY yes",
        "ROUTED yes",
        "BRIDGED yes",
        "GATEWAY yes",
        "OOM yes",
        "LEFT nothing",
        "END",
    ] {
        assert!(found(line), "no {line:?} in:\n{said}");
    }
}

fn on_path(name: &str) -> Option<PathBuf> {
    std::env::split_paths(&std::env::var_os("PATH")?).map(|dir| dir.join(name)).find(|path| path.is_file())
}

/// A cpio archive in the `newc` form: the program, busybox, the two scripts and the kernel's modules.
fn initramfs(scratch: &Path, modules: &Path) -> io::Result<Vec<u8>> {
    let stripped = scratch.join("dcos");
    let strip = Command::new("strip").arg("-o").arg(&stripped).arg(DCOS).status()?;
    assert!(strip.success());
    let busybox = on_path("busybox").expect("make test installs busybox-static");
    let mut archive = Vec::new();
    for folder in ["bin", "new", "modules"] {
        add(&mut archive, folder, 0o040_755, b"");
    }
    for module in fs::read_dir(modules)? {
        let module = module?;
        let name = format!("modules/{}", module.file_name().to_string_lossy());
        add(&mut archive, &name, 0o100_644, &fs::read(module.path())?);
    }
    add(&mut archive, "bin/busybox", 0o100_755, &fs::read(busybox)?);
    add(&mut archive, "bin/dcos", 0o100_755, &fs::read(stripped)?);
    add(&mut archive, "init", 0o100_755, INIT.as_bytes());
    add(&mut archive, "run-in-guest", 0o100_755, SCRIPT.as_bytes());
    add(&mut archive, "TRAILER!!!", 0, b"");
    Ok(archive)
}

fn add(archive: &mut Vec<u8>, name: &str, mode: u32, content: &[u8]) {
    // magic, inode, mode, uid, gid, links, mtime, size, device and its special number, name size, checksum
    let fields = [
        archive.len() as u32 + 1,
        mode,
        0,
        0,
        1,
        0,
        content.len() as u32,
        0,
        0,
        0,
        0,
        name.len() as u32 + 1,
        0,
    ];
    archive.extend_from_slice(b"070701");
    for field in fields {
        archive.extend_from_slice(format!("{field:08X}").as_bytes());
    }
    archive.extend_from_slice(name.as_bytes());
    archive.push(0);
    archive.resize(archive.len().next_multiple_of(4), 0);
    archive.extend_from_slice(content);
    archive.resize(archive.len().next_multiple_of(4), 0);
}
