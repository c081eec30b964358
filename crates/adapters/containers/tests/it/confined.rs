//! What processes of a container may do.

use containers::{Capability, Isolation, Rlimit, RlimitResource, Seccomp};

use crate::scene::Scene;

#[test]
fn ma40_dockers_filter_refuses_what_needs_a_capability_that_is_not_there() {
    let Some(scene) = Scene::new(Isolation::Full) else { return };
    let script = r#"
        grep Seccomp: /proc/self/status
        unshare -U true 2>&1 | grep -c 'not permitted'
        mount -t tmpfs t /dev/shm 2>/dev/null || echo no mount
        sh -c 'sleep 0 & wait; echo children'; hostname x 2>/dev/null || echo no host name
        chroot / true && echo chroot; id -u
    "#;
    let expect = "Seccomp:\t2\n1\nno mount\nchildren\nno host name\nchroot\n0\n";
    let mut spec = scene.image_spec("docker", &[], script);
    spec.seccomp = Seccomp::Default;
    assert_eq!(scene.run(&spec).0, expect, "{}", std::fs::read_to_string(&spec.stderr).unwrap());
    // Without new privileges the filter comes last, and on the host's file system it is the same.
    let mut spec = scene.image_spec("nnp", &[], script);
    (spec.seccomp, spec.no_new_privileges) = (Seccomp::Default, true);
    assert_eq!(scene.run(&spec).0, expect);
    let mut spec = scene.image_spec("user", &[], "grep Seccomp: /proc/self/status; id -u");
    (spec.seccomp, spec.user) = (Seccomp::Default, Some("1234".into()));
    assert_eq!(scene.run(&spec).0, "Seccomp:\t2\n1234\n");
    // With the capability the calls are allowed.
    let mut spec = scene.image_spec("admin", &[], "mount -t tmpfs t /dev/shm && echo mounted");
    spec.seccomp = Seccomp::Default;
    spec.capabilities.push(Capability::SysAdmin);
    assert_eq!(scene.run(&spec).0, "mounted\n");
}

#[test]
fn ma45_rlimits_are_inherited() {
    let Some(scene) = Scene::new(Isolation::Full) else { return };
    for isolation in [Isolation::Full, Isolation::Plain] {
        let Some(scene) = Scene::new(isolation) else { continue };
        let mut spec = scene.spec("rlimits", "ulimit -Sn; ulimit -Hn; ulimit -c");
        let limit = |resource, soft, hard| Rlimit { resource, soft, hard };
        spec.rlimits = vec![
            limit(RlimitResource::Nofile, Some(123), Some(456)),
            limit(RlimitResource::Core, Some(0), Some(0)),
        ];
        assert_eq!(scene.run(&spec).0, "123\n456\n0\n", "{isolation:?}");
    }
    let mut spec = scene.spec("refused", "");
    spec.rlimits = vec![Rlimit { resource: RlimitResource::Nofile, soft: Some(5), hard: Some(4) }];
    let error = crate::scene::block_on(scene.launch(&spec)).unwrap_err().to_string();
    assert!(error.starts_with("cannot set rlimit Nofile to 5 of 4: "), "{error}");
    scene.assert_gone(&spec.container_id);
}
