use api_marathon::{AppId, PortDefinition};
use mesos_proto::v1::{Offer, Resource, resource, value};

use super::*;

fn scalar(name: &str, role: &str, value: f64) -> Resource {
    Resource {
        name: name.to_owned(),
        r#type: value::Type::Scalar as i32,
        scalar: Some(value::Scalar { value }),
        ..reserved(role)
    }
}

fn ports(role: &str, ranges: &[(u64, u64)]) -> Resource {
    let range = ranges.iter().map(|(begin, end)| value::Range { begin: *begin, end: *end }).collect();
    Resource {
        name: "ports".to_owned(),
        r#type: value::Type::Ranges as i32,
        ranges: Some(value::Ranges { range }),
        ..reserved(role)
    }
}

fn reserved(role: &str) -> Resource {
    let reservation = resource::ReservationInfo { role: Some(role.to_owned()), ..Default::default() };
    Resource { reservations: if role == "*" { Vec::new() } else { vec![reservation] }, ..Resource::default() }
}

fn offer(resources: Vec<Resource>) -> Offer {
    Offer { hostname: "h".to_owned(), resources, ..Offer::default() }
}

fn app(cpus: f64, mem: f64, service_ports: &[u16], require_ports: bool) -> AppDefinition {
    let mut app = AppDefinition::empty(AppId::new("/a"), "*");
    (app.cpus, app.mem, app.require_ports) = (cpus, mem, require_ports);
    let port = |port: &u16| PortDefinition {
        port: *port,
        labels: Default::default(),
        name: None,
        protocol: "tcp".to_owned(),
    };
    app.port_definitions = Some(service_ports.iter().map(port).collect());
    app
}

fn roles(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

/// Which pieces are taken, as `name(role):amount`.
fn taken(found: &Match) -> Vec<String> {
    let amount = |resource: &Resource| match (&resource.scalar, &resource.ranges) {
        (Some(scalar), _) => scalar.value.to_string(),
        (_, Some(ranges)) => {
            ranges.range.iter().map(|range| format!("[{}-{}]", range.begin, range.end)).collect()
        }
        _ => String::new(),
    };
    let text = |r: &Resource| format!("{}({}):{}", r.name, crate::offer::role_of(r), amount(r));
    found.resources.iter().map(text).collect()
}

fn run(app: &AppDefinition, accepted: &[&str], offer: &Offer, pool: &mut Pool) -> Result<Match, Vec<Reason>> {
    take(app, &roles(accepted), offer, &[], pool, Wall(1000), &mut Rng::seeded(4))
}

#[test]
fn reserved_resources_go_first_and_are_pieced_together() {
    let offer =
        offer(vec![scalar("cpus", "*", 1.0), scalar("cpus", "slave_public", 0.5), scalar("mem", "*", 256.0)]);
    let mut pool = Pool::of(&offer);
    let found =
        run(&app(0.7, 128.0, &[], false), &["*", "slave_public"], &offer, &mut pool).expect("it fits");
    assert_eq!(taken(&found), ["cpus(slave_public):0.5", "cpus(*):0.2", "mem(*):128"]);
    let found = run(&app(0.8, 128.0, &[], false), &["*"], &offer, &mut pool).expect("it fits");
    assert_eq!(taken(&found), ["cpus(*):0.8", "mem(*):128"]);
    let reasons =
        run(&app(0.001, 0.001, &[], false), &["*"], &offer, &mut pool).expect_err("nothing is left");
    assert_eq!(reasons, [Reason::InsufficientCpus, Reason::InsufficientMemory]);
}

#[test]
fn what_is_missing_takes_nothing() {
    let offer =
        offer(vec![scalar("cpus", "*", 1.0), scalar("mem", "*", 64.0), ports("*", &[(31000, 31000)])]);
    let mut pool = Pool::of(&offer);
    let check = |pool: &mut Pool, app: AppDefinition, accepted: &[&str], reasons: &[Reason]| {
        assert_eq!(run(&app, accepted, &offer, pool).expect_err("it does not fit"), reasons);
    };
    check(&mut pool, app(1.0, 65.0, &[], false), &["*"], &[Reason::InsufficientMemory]);
    check(&mut pool, app(1.0, 64.0, &[0, 0], false), &["*"], &[Reason::InsufficientPorts]);
    check(&mut pool, app(1.0, 64.0, &[80], true), &["*"], &[Reason::InsufficientPorts]);
    let all = [Reason::UnfulfilledRole, Reason::InsufficientCpus, Reason::InsufficientMemory];
    check(&mut pool, app(1.0, 64.0, &[], false), &["slave_public"], &all);
    assert!(run(&app(1.0, 64.0, &[0], false), &["*"], &offer, &mut pool).is_ok(), "all is still there");
}

#[test]
fn ports_are_chosen() {
    let offer = offer(vec![
        scalar("cpus", "*", 9.0),
        scalar("mem", "*", 9999.0),
        ports("*", &[(31000, 31004), (8080, 8080)]),
        ports("slave_public", &[(80, 81)]),
    ]);
    let mut pool = Pool::of(&offer);
    let both = ["*", "slave_public"];
    let found = run(&app(1.0, 1.0, &[80, 0, 8080], true), &both, &offer, &mut pool).expect("it fits");
    assert_eq!((found.ports[0], found.ports[2]), (80, 8080));
    assert!(![80, 8080].contains(&found.ports[1]));
    let mut all: BTreeSet<u16> = found.ports.iter().copied().collect();
    for _ in 0..5 {
        let found = run(&app(1.0, 1.0, &[10000], false), &both, &offer, &mut pool).expect("it fits");
        assert!(all.insert(found.ports[0]), "no port twice");
    }
    assert!(run(&app(1.0, 1.0, &[0], false), &both, &offer, &mut pool).is_err());
    let offered: BTreeSet<u16> = (31000..=31004).chain([8080, 80, 81]).collect();
    assert_eq!(all, offered);
}

#[test]
fn an_agent_in_maintenance_gets_nothing() {
    let mut offer = offer(vec![scalar("cpus", "*", 1.0), scalar("mem", "*", 64.0)]);
    let mut check = |start: i64, duration: Option<i64>, in_maintenance: bool| {
        offer.unavailability = Some(v1::Unavailability {
            start: v1::TimeInfo { nanoseconds: start },
            duration: duration.map(|nanoseconds| v1::DurationInfo { nanoseconds }),
        });
        let found = run(&app(1.0, 1.0, &[], false), &["*"], &offer, &mut Pool::of(&offer));
        assert_eq!(found.is_err(), in_maintenance, "{start} {duration:?}");
    };
    check(1001, None, false);
    check(1000, None, true);
    check(1, Some(999), false);
    check(1, Some(1000), true);
}
