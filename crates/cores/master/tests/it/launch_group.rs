use std::time::Duration;

use agent_link::{Body, ExecutorExited};
use mesos_proto::v1::{self, TaskState};

use crate::cluster::{Agent, CPUS, DISK, Framework, MEM, launch_group, task, task_with};
use crate::launch::started;

#[test]
fn mp03_launch_group_is_launched_whole() {
    let (mut cluster, framework, agent) = started();
    let group = launch_group(&framework, "e", &[task(&agent, "a"), task(&agent, "b")]);
    cluster.accept(&framework, &group, 0.0);
    assert!(cluster.take_events(&framework).is_empty());
    let frames = cluster.take_frames(agent.conn);
    let [Body::RunTaskGroup(run)] = &frames[..] else { panic!("{frames:?}") };
    let executor = run.executor.as_ref().unwrap();
    assert_eq!(executor.resources[0].allocation_info.as_ref().unwrap().role(), "golden");
    let tasks = &run.task_group.as_ref().unwrap().tasks;
    assert_eq!(tasks.iter().map(|task| &task.task_id.value).collect::<Vec<_>>(), ["a", "b"]);
    assert!(tasks.iter().all(|task| task.executor.as_ref() == Some(executor)));
    assert_eq!(cluster.metric("master/tasks_staging"), 2.0);
    cluster.wait(Duration::from_secs(1));
    let left = "ports:[31000-32000]; cpus:3.7; mem:4000; disk:10230";
    assert_eq!(cluster.offered(&framework), [left], "the executor counts once");

    // Another group in the same executor.
    let group = launch_group(&framework, "e", &[task(&agent, "c")]);
    cluster.accept(&framework, &group, 0.0);
    cluster.wait(Duration::from_secs(1));
    assert_eq!(cluster.offered(&framework), ["ports:[31000-32000]; cpus:3.6; mem:3968; disk:10230"]);

    // All over: the executor's resources come back when it has gone.
    for (uuid, task) in [(1, "a"), (2, "b"), (3, "c")] {
        cluster.update(&agent, &framework, task, TaskState::TaskFinished, uuid);
        cluster.acknowledge(&agent, &framework, task, uuid);
    }
    let exited = ExecutorExited {
        framework_id: Some(v1::FrameworkId { value: framework.id.clone() }),
        executor_id: Some(v1::ExecutorId { value: "e".to_owned() }),
        status: 0,
    };
    cluster.say(agent.conn, Body::ExecutorExited(exited));
    let events = cluster.take_events(&framework).join("\n");
    assert!(
        events.contains(r#""failure":{"agent_id":{"value":"m-S0"},"executor_id":{"value":"e"},"status":0}"#)
    );
    assert_eq!(cluster.metric("master/cpus_used"), 0.0);
}

/// What the recorded exchange `scheduler/LAUNCH_stream` refuses, and others of the same code.
#[test]
fn mp03_an_invalid_launch_group_is_refused_whole() {
    let check = |change: &dyn Fn(&Framework, &Agent) -> String, text: &str| {
        let (mut cluster, framework, agent) = started();
        let operation = change(&framework, &agent);
        cluster.accept(&framework, &operation, 0.0);
        let events = cluster.take_events(&framework);
        assert_eq!(events.len(), operation.matches(r#""task_id""#).count(), "{text}: {events:?}");
        for event in events {
            let said = text.replace('\n', "\\n").replace('"', "\\\"");
            let said = format!(
                r#""state":"TASK_ERROR","message":"{said}","source":"SOURCE_MASTER","reason":"REASON_TASK_GROUP_INVALID""#
            );
            assert!(event.contains(&said), "{said}\n{event}");
        }
        assert!(cluster.take_frames(agent.conn).is_empty(), "{text}");
        cluster.wait(Duration::from_secs(1));
        assert_eq!(cluster.offered(&framework).len(), 1, "all of it is offered again");
    };
    let two = |framework: &Framework, agent: &Agent| {
        launch_group(framework, "e", &[task(agent, "a"), task(agent, "b")])
    };
    let changed = |from: &'static str, to: &'static str| {
        move |framework: &Framework, agent: &Agent| two(framework, agent).replacen(from, to, 1)
    };
    check(&changed(&DISK_TOO, MEM), "Executor 'e' uses no disk");
    check(
        &changed(CPUS, r#"{"name":"cpus","type":"SCALAR","scalar":{"value":0.005}}"#),
        "Executor 'e' uses less CPUs (0.005) than the minimum required (0.01)",
    );
    check(&changed(&CPUS_TOO, MEM), "Executor 'e' uses less CPUs (None) than the minimum required (0.01)");
    check(
        &changed(MEM, r#"{"name":"mem","type":"SCALAR","scalar":{"value":16}}"#),
        "Executor 'e' uses less memory (16MB) than the minimum required (32MB)",
    );
    check(&changed(r#""type":"DEFAULT","#, ""), "'ExecutorInfo.type' must be set");
    check(&changed("DEFAULT", "UNKNOWN"), "Unknown executor type");
    check(
        &changed(r#""type":"DEFAULT","#, r#""type":"DEFAULT","command":{"value":"x"},"#),
        "'ExecutorInfo.command' must not be set for 'DEFAULT' executor",
    );
    check(
        &changed(r#""framework_id":{"value":"m-0000"},"#, ""),
        "ExecutorInfo has an invalid FrameworkID (Actual:  vs Expected: m-0000)",
    );
    check(
        &changed(
            r#""type":"DEFAULT","#,
            r#""type":"DEFAULT","container":{"type":"DOCKER","docker":{"image":"x"}},"#,
        ),
        "Docker ContainerInfo is not supported on the executor",
    );
    check(
        &changed(
            r#""type":"DEFAULT","#,
            r#""type":"DEFAULT","container":{"type":"MESOS","linux_info":{"share_cgroups":true}},"#,
        ),
        "The 'share_cgroups' field cannot be set to 'true' on executor containers",
    );
    check(
        &|framework, agent| launch_group(framework, "e", &[task(agent, "a"), task(agent, "a")]),
        "Task 'a' is invalid: Task has duplicate ID: a",
    );
    check(
        &|framework, agent| launch_group(framework, "e", &[task(agent, "a"), task(agent, "x/y")]),
        "Task 'x/y' is invalid: 'x/y' contains invalid characters",
    );
    let with = |rest: &'static str| {
        move |framework: &Framework, agent: &Agent| {
            let odd = task_with(agent, "b", &format!(r#""command":{{"value":"true"}},{rest}"#));
            launch_group(framework, "e", &[task(agent, "a"), odd])
        }
    };
    check(
        &with(r#""container":{"type":"DOCKER","docker":{"image":"x"}}"#),
        "Task 'b' is invalid: Docker ContainerInfo is not supported on the task",
    );
    check(
        &with(
            r#""container":{"type":"MESOS","network_infos":[{"name":"n"}]},"health_check":{"type":"TCP","tcp":{"port":1}}"#,
        ),
        "Task 'b' is invalid: HTTP and TCP health checks are not supported for nested containers not joining \
         parent's network",
    );
    check(
        &with(r#""container":{"type":"MESOS","linux_info":{"share_cgroups":false}}"#),
        "If set, the value of 'share_cgroups' must be the same for all tasks in each task group and under a \
         single executor",
    );
    check(
        &with(r#""executor":{"executor_id":{"value":"other"}}"#),
        "The `ExecutorInfo` of task 'b' is different from executor 'e'",
    );
    check(
        &|framework, agent| two(framework, agent).replace(r#""value":32"#, r#""value":3000"#),
        "Total resources cpus(allocated: golden):0.3; mem(allocated: golden):9000; disk(allocated: golden):10 \
         required by task group and its executor are more than available ports(allocated: golden):[31000-32000]; \
         cpus(allocated: golden):4; mem(allocated: golden):4096; disk(allocated: golden):10240",
    );
    check(
        &|framework, agent| {
            let port = r#"{"name":"ports","type":"RANGES","ranges":{"range":[{"begin":31000,"end":31000}]}}"#;
            let with_port = |id| task(agent, id).replace(CPUS, port);
            launch_group(framework, "e", &[with_port("a"), with_port("b")])
        },
        "There are overlapping resources in the task group's task resources [ ports(allocated: \
         golden):[31000-31000]; mem(allocated: golden):32, ports(allocated: golden):[31000-31000]; \
         mem(allocated: golden):32 ] and/or executor resources cpus(allocated: golden):0.1; mem(allocated: \
         golden):32; disk(allocated: golden):10",
    );
}

/// Of the executor, which stands first.
static DISK_TOO: std::sync::LazyLock<String> = std::sync::LazyLock::new(|| format!("{MEM},{DISK}"));
static CPUS_TOO: std::sync::LazyLock<String> = std::sync::LazyLock::new(|| format!("{CPUS},{MEM}"));

#[test]
fn mp03_a_launch_group_must_suit_its_running_executor() {
    let (mut cluster, framework, agent) = started();
    cluster.accept(&framework, &launch_group(&framework, "e", &[task(&agent, "a")]), 0.0);
    cluster.take_frames(agent.conn);
    cluster.wait(Duration::from_secs(1));
    let other = launch_group(&framework, "e", &[task(&agent, "b")]).replacen("0.1", "0.2", 1);
    cluster.accept(&framework, &other, 0.0);
    let events = cluster.take_events(&framework);
    let text = "ExecutorInfo is not compatible with existing ExecutorInfo with same ExecutorID.";
    assert!(events[0].contains(text), "{events:?}");
    cluster.wait(Duration::from_secs(1));
    let own_cgroups =
        r#""command":{"value":"x"},"container":{"type":"MESOS","linux_info":{"share_cgroups":false}}"#;
    let group = launch_group(&framework, "e", &[task_with(&agent, "c", own_cgroups)]);
    cluster.accept(&framework, &group, 0.0);
    let events = cluster.take_events(&framework);
    assert!(events[0].contains("If set, the value of 'share_cgroups' must be the same"), "{events:?}");
    // Nobody can be told of an empty one.
    cluster.wait(Duration::from_secs(1));
    cluster.accept(&framework, &launch_group(&framework, "e", &[]), 0.0);
    assert!(cluster.take_events(&framework).is_empty() && cluster.take_frames(agent.conn).is_empty());
}
