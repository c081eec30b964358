//! Containers with a root of their own.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::time::Instant;

use containers::{Exit, Isolation, KernelFiles, LaunchError, Limits, Mount};

use crate::scene::{Scene, block_on};

fn scene() -> Option<Scene> {
    Scene::new(Isolation::Full)
}

#[test]
fn the_root_is_the_images_and_what_is_written_stays_out_of_its_layers() {
    let Some(scene) = scene() else { return };
    let (middle, top) = (scene.layer("middle"), scene.layer("top"));
    fs::write(middle.join("a"), "middle").unwrap();
    fs::write(middle.join("b"), "middle").unwrap();
    fs::write(top.join("b"), "top").unwrap();
    fs::set_permissions(&top, fs::Permissions::from_mode(0o751)).unwrap();
    let script = "cat /a /b; echo; echo changed > /a; cat /a; ls /; stat -c %a /; ls /proc/self/fd | wc -l; \
                  umask; grep -c . /proc/self/mountinfo >&2; cat /proc/self/mountinfo >&2";
    let mut spec = scene.image_spec("root", &[&middle, &top], script);
    spec.hostname = Some("inside".into());
    let (out, exit) = scene.run(&spec);
    assert_eq!(exit, Exit::Code(0));
    let lines: Vec<&str> = out.lines().collect();
    assert_eq!(lines[..2], ["middletop", "changed"]);
    assert_eq!(lines[2..8].join(" "), "a b bin dev proc sys");
    // 0, 1, 2 and the directory itself: nothing of the agent's is open.
    assert_eq!(lines[8..], ["751", "4", "0022"]);
    assert_eq!(fs::read_to_string(middle.join("a")).unwrap(), "middle");
    let mounts = fs::read_to_string(&spec.stderr).unwrap();
    assert!(!mounts.contains(scene.directory.to_str().unwrap()), "no path of the host shows: {mounts}");
}

#[test]
fn devices_are_dockers_and_no_other_can_be_opened() {
    let Some(scene) = scene() else { return };
    let script = r#"
        cd /dev; ls; stat -c '%n %t:%T %a' null zero full random urandom tty console
        for link in fd stdin stdout stderr ptmx; do readlink $link; done
        echo x > /dev/null && head -c 3 /dev/zero | wc -c && head -c 3 /dev/urandom | wc -c
        for place in /dev /tmp /dev/shm /; do
            mkdir -p $place; mknod $place/mine c 1 3 && (: > $place/mine) 2>/dev/null && echo opened $place
        done
        test -c /dev/mine && echo made
        df -k /dev/shm | tail -1 | awk '{print $2}'
        stat -c %a /dev/shm; test -d /dev/mqueue && test -c /dev/pts/ptmx && echo there
    "#;
    let mut spec = scene.image_spec("dev", &[], script);
    spec.shm_bytes = Some(3 << 20);
    let (out, _) = scene.run(&spec);
    let expect = "console\nfd\nfull\nmqueue\nnull\nptmx\npts\nrandom\nshm\nstderr\nstdin\nstdout\ntty\nurandom\nzero\n\
        null 1:3 666\nzero 1:5 666\nfull 1:7 666\nrandom 1:8 666\nurandom 1:9 666\ntty 5:0 666\nconsole 1:3 666\n\
        /proc/self/fd\n/proc/self/fd/0\n/proc/self/fd/1\n/proc/self/fd/2\npts/ptmx\n3\n3\nmade\n3072\n1777\nthere\n";
    assert_eq!(out, expect, "{}", fs::read_to_string(&spec.stderr).unwrap());
}

#[test]
fn what_the_kernel_shows_is_masked_unless_privileged() {
    let Some(scene) = scene() else { return };
    let script = r#"
        cat /proc/kcore /proc/keys /proc/timer_list 2>/dev/null | wc -c
        ls /proc/scsi /proc/acpi /sys/firmware 2>/dev/null | grep -v : | wc -w
        (echo 1 > /proc/sys/vm/drop_caches) 2>/dev/null && echo settings
        (echo h > /proc/sysrq-trigger) 2>/dev/null && echo sysrq
        mkdir /sys/x 2>/dev/null; grep -q ' /sys sysfs ro' /proc/mounts && echo sys read-only
        mount -t tmpfs x /tmp 2>/dev/null && echo mounted
        chmod 600 /proc/kcore 2>/dev/null
        ls -d /proc/[0-9]* | wc -l
    "#;
    let null = fs::metadata("/dev/null").unwrap().mode();
    let spec = scene.image_spec("masked", &[], script);
    let (out, _) = scene.run(&spec);
    assert_eq!(out, "0\n0\nsys read-only\n3\n");
    assert_eq!(fs::metadata("/dev/null").unwrap().mode(), null, "the host's own is another");
    let mut spec = scene.image_spec(
        "privileged",
        &[],
        "head -c 1 /proc/keys | wc -c; grep -q ' /sys sysfs rw' /proc/mounts && echo sys; \
         mkdir /tmp; mount -t tmpfs x /tmp && echo mounted; grep CapEff /proc/self/status; \
         mknod /tmp/mine c 1 3; (: > /tmp/mine) && echo device; ls /dev | wc -l; grep Seccomp: /proc/self/status",
    );
    spec.make_privileged();
    assert_eq!(spec.kernel_files, KernelFiles::All);
    let (out, _) = scene.run(&spec);
    let lines: Vec<&str> = out.lines().collect();
    // The machine itself may lack some capability.
    assert_eq!(lines[..3], ["1", "sys", "mounted"]);
    assert!(lines[3].starts_with("CapEff:\t000001"), "{out}");
    assert_eq!(lines[4], "device");
    assert!(lines[5].parse::<usize>().unwrap() > 15, "{out}");
    assert_eq!(lines[6], "Seccomp:\t0");
}

#[test]
fn mounts_are_made_where_they_belong_with_all_that_is_below() {
    let Some(scene) = scene() else { return };
    let host = scene.directory.join("host");
    fs::create_dir_all(host.join("sub")).unwrap();
    fs::write(host.join("file"), "content\n").unwrap();
    let script = r#"
        cat /new/dir/file /etc/hosts; echo w > /new/dir/written; touch /ro/x || echo read-only
        touch /ro/sub/x || echo below too; echo t > /mem/t; df -k /mem | tail -1 | awk '{print $2}'
        touch /etc/hosts || echo file read-only; stat -c %a /mem
    "#;
    let mut spec = scene.image_spec("mounts", &[], script);
    spec.mounts = vec![
        Mount::bind(&host, "/new/dir"),
        Mount::bind(host.join("file"), "/etc/hosts").read_only(),
        Mount::bind(&host, "/ro").read_only(),
        Mount::tmpfs("/mem", Some(1 << 20)),
    ];
    // A mount below what is bound: it comes along, and read-only.
    let below = host.join("sub");
    rustix::mount::mount(c"t", &below, c"tmpfs", rustix::mount::MountFlags::empty(), None).unwrap();
    let (out, _) = scene.run(&spec);
    rustix::mount::unmount(&below, rustix::mount::UnmountFlags::DETACH).unwrap();
    assert_eq!(out, "content\ncontent\nread-only\nbelow too\n1024\nfile read-only\n1777\n");
    assert_eq!(fs::read_to_string(host.join("written")).unwrap(), "w\n");
}

#[test]
fn a_read_only_root_takes_writes_to_its_mounts_only() {
    let Some(scene) = scene() else { return };
    let host = scene.directory.join("volume");
    fs::create_dir_all(&host).unwrap();
    let script = "touch /x || echo root; touch /bin/x || echo bin; touch /v/x && echo volume; touch /dev/shm/x && echo shm";
    let mut spec = scene.image_spec("ro", &[], script);
    spec.root.as_mut().unwrap().read_only = true;
    spec.mounts = vec![Mount::bind(&host, "/v")];
    assert_eq!(scene.run(&spec).0, "root\nbin\nvolume\nshm\n");
}

#[test]
fn users_are_the_images() {
    let Some(scene) = scene() else { return };
    let layer = scene.layer("users");
    fs::create_dir(layer.join("etc")).unwrap();
    fs::write(layer.join("etc/passwd"), "app:x:4242:4343:::\n").unwrap();
    fs::write(layer.join("etc/group"), "team:x:77:app\n").unwrap();
    let check = |user: &str, expect: &str| {
        let script = "id -u; id -g; id -G; echo again >> /dev/stdout; grep CapEff /proc/self/status";
        let mut spec = scene.image_spec("user", &[&layer], script);
        spec.user = Some(user.into());
        let expect = format!("{expect}\nagain\nCapEff:\t0000000000000000\n").replace(' ', "\n");
        assert_eq!(scene.run(&spec).0.replace(' ', "\n"), expect, "{user}");
        fs::remove_file(&spec.stdout).unwrap();
    };
    check("app", "4242 4343 4343 77");
    check("app:team", "4242 77 77");
    check("9:8", "9 8 8");
    let mut spec = scene.image_spec("nobody", &[&layer], "");
    spec.user = Some("daemon".into());
    let error = block_on(scene.launch(&spec)).unwrap_err().to_string();
    assert_eq!(error, "cannot find user daemon: there is no user \"daemon\" in /etc/passwd");
}

#[test]
fn a_hundred_and_more_layers() {
    let Some(scene) = scene() else { return };
    let name = "x".repeat(100);
    let layers: Vec<_> = (0..200)
        .map(|number| {
            let layer = scene.layer(&format!("{number}-{name}:,\\"));
            fs::write(layer.join("top"), number.to_string()).unwrap();
            fs::write(layer.join(number.to_string()), "").unwrap();
            layer
        })
        .collect();
    let layers: Vec<&std::path::Path> = layers.iter().map(|layer| layer.as_path()).collect();
    let spec = scene.image_spec("many", &layers, "cat /top; test -e /0 -a -e /199 && echo all");
    assert_eq!(scene.run(&spec), ("199all\n".into(), Exit::Code(0)));
    let mut spec = scene.image_spec("none", &[], "");
    spec.root.as_mut().unwrap().layers.clear();
    let error = block_on(scene.launch(&spec)).unwrap_err().to_string();
    assert_eq!(error, "cannot stack the image's layers: it has 0 layers; 1 to 500 are allowed");
}

#[test]
fn whatever_a_container_wrote_is_removed() {
    let Some(scene) = scene() else { return };
    let script = r#"
        mkdir -p /a/b/c; touch /a/b/c/f; chmod 0 /a/b/c /a/b /a; rm -rf /bin/yes; mkfifo /p; mknod /n b 7 0
        i=0; d=/deep; while [ $i -lt 60 ]; do d=$d/dddddddddddddddddddddddddddddddddddddddd; i=$((i+1)); done
        mkdir -p $d; ln -s / /root-link; ln -s /etc /a-link; chmod 0 /
        exec sleep 60
    "#;
    let spec = scene.image_spec("odd", &[], script);
    block_on(async {
        scene.launch(&spec).await.unwrap();
        let upper = spec.root.as_ref().unwrap().upper_dir.join("upper");
        crate::scene::eventually("written", || fs::metadata(&upper).unwrap().mode() & 0o777 == 0).await;
        // By another agent, which has nothing but the id.
        let restarted = containers::Containers::new(scene.config.clone()).unwrap();
        restarted.destroy(&spec.container_id).await.unwrap();
    });
    scene.assert_gone(&spec.container_id);
    assert!(std::path::Path::new("/etc").is_dir());
}

#[test]
fn files_that_must_not_be_removed_are_removed() {
    use rustix::fs::{IFlags, Mode, OFlags};
    let Some(scene) = scene() else { return };
    let spec = scene.image_spec("kept", &[], "mkdir -p /a/b; touch /a/b/f /a/b/g; exec sleep 60");
    let below = spec.root.as_ref().unwrap().upper_dir.join("upper/a/b");
    // As a privileged container does with `chattr`, which this busybox does not have.
    let mark = |name: &str, mark: IFlags| {
        let file = rustix::fs::open(below.join(name), OFlags::RDONLY, Mode::empty()).unwrap();
        let marks = rustix::fs::ioctl_getflags(&file)?;
        rustix::fs::ioctl_setflags(&file, marks | mark)
    };
    block_on(async {
        scene.launch(&spec).await.unwrap();
        crate::scene::eventually("written", || below.join("g").exists()).await;
        let marked = mark("f", IFlags::IMMUTABLE)
            .and_then(|()| mark("g", IFlags::APPEND))
            .and_then(|()| mark(".", IFlags::IMMUTABLE));
        match marked {
            Ok(()) => assert!(fs::remove_file(below.join("f")).is_err(), "it is kept"),
            Err(errno) => eprintln!("SKIP: this file system has no files that cannot be removed: {errno}"),
        }
        scene.containers.destroy(&spec.container_id).await.unwrap();
    });
    scene.assert_gone(&spec.container_id);
}

#[test]
fn a_failed_launch_names_what_is_wrong_and_leaves_nothing() {
    let Some(scene) = scene() else { return };
    let check = |change: &dyn Fn(&mut containers::ContainerSpec), expect: &str| {
        let mut spec = scene.image_spec("wrong", &[], "");
        change(&mut spec);
        let error = block_on(scene.launch(&spec)).unwrap_err().to_string();
        assert!(error.contains(expect), "{error:?} has no {expect:?}");
        scene.assert_gone(&spec.container_id);
    };
    let mount = |source: &'static str, target: &'static str| {
        move |spec: &mut containers::ContainerSpec| spec.mounts = vec![Mount::bind(source, target)]
    };
    check(&mount("/no/such/dir", "/x"), "cannot bind /no/such/dir to /x: No such file or directory");
    check(&mount("relative", "/x"), "cannot bind relative to /x: the host's path must be absolute");
    check(&mount("/etc", "/"), "cannot bind /etc to /: it leads to the root itself");
    check(&mount("/etc", "/proc/sys"), "cannot bind /etc to /proc/sys: it leads into /proc");
    check(&mount("/etc/hosts", "/bin"), "it is a directory in the container, and what is mounted is a file");
    check(
        &mount("/etc", "/bin/busybox"),
        "it is a file in the container, and what is mounted is a directory",
    );
    check(&|spec| spec.program = "/bin/nothing".into(), "cannot execute /bin/nothing: No such file");
    check(&|spec| spec.working_directory = "/nowhere".into(), "cannot enter /nowhere: No such file");
    check(&|spec| spec.root.as_mut().unwrap().layers.push("/no/layer".into()), "cannot open /no/layer");
}

#[test]
fn without_isolation_an_image_is_refused() {
    let scene = Scene::new(Isolation::Plain).unwrap();
    let spec = scene.image_spec("plain", &[], "");
    let error = block_on(scene.launch(&spec)).unwrap_err();
    assert!(matches!(error, LaunchError::RootNeedsIsolation), "{error}");
}

/// Prints how long one container of an image takes; see the numbers with `--nocapture`.
#[test]
fn one_image_is_quick() {
    let Some(scene) = scene() else { return };
    let mut times = Vec::new();
    block_on(async {
        for number in 0..30 {
            let mut spec = scene.image_spec(&format!("quick-{number}"), &[], "");
            (spec.program, spec.argv) = ("/bin/true".into(), vec!["true".into()]);
            spec.seccomp = containers::Seccomp::Default;
            spec.limits = Limits {
                cpu_milli: 100,
                cpu_quota_milli: Some(100),
                memory_bytes: Some(32 << 20),
                pids: Some(50),
            };
            let started = Instant::now();
            let launched = scene.launch(&spec).await.unwrap();
            let launch = started.elapsed();
            assert_eq!(scene.containers.wait(&launched.process).await, Exit::Code(0));
            let ended = started.elapsed();
            scene.containers.destroy(&spec.container_id).await.unwrap();
            times.push([launch, ended, started.elapsed()]);
        }
    });
    times.sort();
    eprintln!("launched, ended, destroyed after: median {:?}, best {:?}", times[15], times[0]);
    assert!(times[15][2] < std::time::Duration::from_millis(1500));
}
