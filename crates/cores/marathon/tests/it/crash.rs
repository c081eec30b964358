//! Marathon dies at every single write of a story, with every part of the write through: the story ends the same.

use api_marathon::AppDefinition;
use marathon_core::Command;

use crate::world::{World, app, checked, delete, id};

/// Commands may be lost with the crash; users repeat what was not answered.
fn insist(world: &mut World, command: &Command) {
    for _ in 0..5 {
        match world.command(command.clone()) {
            Some(Ok(_)) => return,
            // The crash came after it was written and before it was answered.
            Some(Err(marathon_core::Refusal::UnknownApp(_) | marathon_core::Refusal::AppExists(_))) => return,
            Some(Err(refusal)) => {
                let marathon_core::Refusal::Locked { .. } = refusal else { panic!("{refusal:?}") };
            }
            None => {}
        }
        world.settle();
    }
    panic!("never answered: {command:?}");
}

fn story(crash_at: Option<(u64, usize)>) -> (World, bool) {
    let mut world = World::new(2);
    let begun = world.persists;
    world.crash_at = crash_at.map(|(at, through)| (at + begun, through));
    let put = |app: AppDefinition| Command::Put { apps: vec![app], force: false, caller: None };
    let v2 = AppDefinition { cmd: Some("v2".to_owned()), ..checked("/web", 3) };
    let steps =
        [put(checked("/web", 3)), put(app("/gone", 2)), put(v2), delete("/gone"), put(app("/late", 2))];
    for command in steps {
        insist(&mut world, &command);
        world.settle();
        let task = world.running("/web").first().cloned();
        if let Some(task) = task {
            world.fail(&task);
        }
        world.settle();
        world.settle();
    }
    let crashed = world.crashes > 0;
    (world, crashed)
}

fn check_end(world: &World, what: &str) {
    assert!(world.marathon.deployments().is_empty(), "{what}: deployments are left");
    assert_eq!(world.alive("/web").len(), 3, "{what}");
    assert_eq!(world.alive("/late").len(), 2, "{what}");
    assert!(world.alive("/gone").is_empty(), "{what}");
    assert_eq!(world.mesos.tasks.len(), 5, "{what}: nothing else runs");
    assert_eq!(world.stored("instances"), 5, "{what}: and nothing else is remembered");
    assert_eq!(
        world.marathon.app(&id("/web")).and_then(|app| app.cmd.clone()).as_deref(),
        Some("v2"),
        "{what}"
    );
    for task in world.alive("/web") {
        let command =
            world.mesos.tasks[&task].info.command.as_ref().and_then(|command| command.value.clone());
        assert_eq!(command.as_deref(), Some("v2"), "{what}");
    }
}

#[test]
fn the_story_ends_the_same_wherever_marathon_dies() {
    let (world, _) = story(None);
    check_end(&world, "no crash");
    let persists = world.persists;
    assert!(persists > 20, "the story writes");
    for at in 1..=persists {
        for through in [0, 1, 2, usize::MAX] {
            let (world, crashed) = story(Some((at, through)));
            if crashed {
                check_end(&world, &format!("crash at write {at}, {through} through"));
            }
        }
    }
}
