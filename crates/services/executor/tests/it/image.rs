//! Tasks in images: the executor is there whatever the image holds.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;

use containers::Exit;
use mesos_proto::v1::{CommandInfo, Environment, TaskState, environment::Variable};

use crate::scene::{Scene, launch, task};

/// `/bin/busybox` as all that it can be.
fn busybox(layer: &Path) {
    fs::create_dir_all(layer.join("bin")).unwrap();
    let found = ["/usr/bin/busybox", "/bin/busybox"].into_iter().find(|path| Path::new(path).exists());
    fs::copy(found.expect("busybox-static is installed"), layer.join("bin/busybox")).unwrap();
    for name in ["sh", "echo", "env", "id", "pwd", "stat", "cat", "true", "false", "sleep", "chmod"] {
        symlink("busybox", layer.join("bin").join(name)).unwrap();
    }
}

/// One program and nothing else, as in an image made from scratch.
fn scratch(layer: &Path) {
    let found = ["/usr/bin/busybox", "/bin/busybox"].into_iter().find(|path| Path::new(path).exists());
    fs::copy(found.expect("busybox-static is installed"), layer.join("busybox")).unwrap();
}

fn with_users(layer: &Path) {
    busybox(layer);
    fs::create_dir(layer.join("etc")).unwrap();
    fs::write(layer.join("etc/passwd"), "app:x:4242:4343::/home/app:\nother:x:7:8:::\n").unwrap();
    fs::write(layer.join("etc/group"), "team:x:77:app\n").unwrap();
}

fn arguments(words: &[&str]) -> CommandInfo {
    let arguments = words.iter().map(|word| (*word).to_owned()).collect();
    CommandInfo { shell: Some(false), arguments, ..Default::default() }
}

/// What a task that finishes wrote.
fn output(scene: &Scene, command: CommandInfo) -> String {
    let (agent, launched) = scene.subscribed();
    let mut info = task("");
    info.command = Some(command);
    agent.send(launch(info));
    agent.expect(TaskState::TaskStarting);
    agent.expect(TaskState::TaskRunning);
    agent.expect(TaskState::TaskFinished);
    assert_eq!(scene.exit(&launched), Exit::Code(0));
    scene.stdout()
}

/// Why a task does not start.
fn failure(scene: &Scene, command: CommandInfo) -> String {
    let (agent, _launched) = scene.subscribed();
    let mut info = task("");
    info.command = Some(command);
    agent.send(launch(info));
    agent.expect(TaskState::TaskStarting);
    agent.expect(TaskState::TaskFailed).message().to_owned()
}

#[test]
fn an_image_from_scratch_runs_its_entrypoint() {
    let config = r#"{"entrypoint":["/busybox","echo","from"],"cmd":["scratch"]}"#;
    let Some(scene) = Scene::in_image(config, scratch) else { return };
    assert_eq!(output(&scene, arguments(&[])), "from scratch\n");
    let Some(scene) = Scene::in_image(config, scratch) else { return };
    assert_eq!(output(&scene, arguments(&["the", "app"])), "from the app\n");
}

#[test]
fn a_task_has_the_images_variables_and_directory() {
    let config = r#"{"env":["PATH=/bin","A=image","B=image","MESOS_SANDBOX=/x"],"working_dir":"work/here"}"#;
    let Some(scene) = Scene::in_image(config, busybox) else { return };
    let mut command = task("echo $A $B $MESOS_SANDBOX $PATH $HOME; pwd; env").command.unwrap();
    let variables = vec![Variable { name: "B".into(), value: Some("task".into()), ..Default::default() }];
    command.environment = Some(Environment { variables });
    let out = output(&scene, command);
    assert!(out.starts_with("image task /mnt/mesos/sandbox /bin /root\n/work/here\n"), "{out}");
    assert!(!out.contains("DCOS_IMAGE_CONFIG") && !out.contains("secret"), "{out}");
    assert_eq!(scene.stderr(), "");
    let Some(scene) = Scene::in_image("{}", busybox) else { return };
    let script = "pwd; chmod 700 /proc/1/exe 2>&1 && echo changed the host";
    let mut command = task(script).command.unwrap();
    command.value.as_mut().unwrap().push_str("; true");
    let out = output(&scene, command);
    assert!(out.starts_with("/mnt/mesos/sandbox\n") && out.ends_with("Read-only file system\n"), "{out}");
}

#[test]
fn users_are_those_of_the_image() {
    let check = |images: &str, own: Option<&str>, expect: &str| {
        let config = format!(r#"{{"user":"{images}"}}"#);
        let Some(scene) = Scene::in_image(&config, with_users) else { return };
        let script = "id -u; id -g; id -G; echo $HOME; echo mine > file; echo more >> /dev/stdout";
        let mut command = task(script).command.unwrap();
        command.user = own.map(str::to_owned);
        let out = output(&scene, command);
        assert_eq!(out.replace('\n', " "), format!("{expect} more "), "{images} {own:?}");
        let file = scene.spec.stdout.parent().unwrap().join("file");
        assert_eq!(fs::metadata(file).unwrap().uid().to_string(), expect.split(' ').next().unwrap());
    };
    check("", None, "0 0 0 /root");
    check("app", None, "4242 4343 4343 77 /home/app");
    check("app:team", None, "4242 77 77 /home/app");
    check("app", Some("other"), "7 8 8 ");
    check("9:10", None, "9 10 10 /");
}

#[test]
fn what_does_not_start_says_what_to_do() {
    let check = |config: &str, fill: &dyn Fn(&Path), command: CommandInfo, expect: &str| {
        let Some(scene) = Scene::in_image(config, fill) else { return };
        assert_eq!(failure(&scene, command), expect);
    };
    let shell = || task("true").command.unwrap();
    check("{}", &scratch, shell(), "the image has no /bin/sh: use args instead of cmd");
    check("{}", &scratch, arguments(&["nothing"]), "program 'nothing' not found in the image");
    check(
        "{}",
        &scratch,
        arguments(&[]),
        "the image has neither an entrypoint nor a command: give the app a cmd or args",
    );
    let user = |name: &str| CommandInfo { user: Some(name.into()), ..shell() };
    check("{}", &with_users, user("ghost"), "user 'ghost' does not exist in the image");
    check("{}", &with_users, user("app:ghosts"), "group 'ghosts' does not exist in the image");
    let script = |layer: &Path| {
        scratch(layer);
        fs::write(layer.join("run"), "#!/bin/bash\n").unwrap();
        fs::set_permissions(layer.join("run"), fs::Permissions::from_mode(0o755)).unwrap();
        fs::write(layer.join("data"), "x").unwrap();
        fs::write(layer.join("foreign"), b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0\x02\0\xf7\x00").unwrap();
        fs::set_permissions(layer.join("foreign"), fs::Permissions::from_mode(0o755)).unwrap();
    };
    check(
        "{}",
        &script,
        arguments(&["/run"]),
        "program '/run' is in the image, but what runs it is not: the interpreter named in its first line, or \
         its dynamic loader",
    );
    check(
        "{}",
        &script,
        arguments(&["/data"]),
        "program '/data' in the image cannot be executed by user 'root': Permission denied (os error 13)",
    );
    let foreign = format!(
        "program '/foreign' in the image is for another kind of machine than this one ({})",
        std::env::consts::ARCH
    );
    check("{}", &script, arguments(&["/foreign"]), &foreign);
    let working_dir = r#"{"working_dir":"/bin/busybox/x"}"#;
    check(
        working_dir,
        &busybox,
        shell(),
        "cannot make the image's working directory /bin/busybox/x: Not a directory (os error 20)",
    );
}
