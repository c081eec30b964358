//! What the agent offers and how it describes itself.

use host::Capacity;
use mesos_proto::v1::value::{Scalar, Text, Type};
use mesos_proto::v1::{AgentInfo, Attribute};
use resources::{Ranges, Reservation, ReservationKind, Resource, Resources, WireForm};

use crate::{Config, Error};

/// Mesos: `DEFAULT_PORTS`.
const DEFAULT_PORTS: (u64, u64) = (31000, 32000);

/// The agent's description, without an id. `port` is the one it listens on.
pub(crate) fn describe(config: &Config, port: u16) -> Result<AgentInfo, Error> {
    let resources = resources(config)?;
    Ok(AgentInfo {
        hostname: config.shown_hostname(),
        port: Some(i32::from(port)),
        resources: resources.to_wire(WireForm::Refined),
        attributes: attributes(config)?,
        ..Default::default()
    })
}

/// What is given, completed by what is found (Mesos: `Containerizer::resources`).
fn resources(config: &Config) -> Result<Resources, Error> {
    let mut all = match config.resources.as_deref().map(str::trim) {
        None | Some("") => Resources::new(),
        Some(text) if text.starts_with('[') => {
            Resources::from_json(text).map_err(|error| Error::Resources(error.to_string()))?
        }
        Some(text) => Resources::parse(text).map_err(|error| Error::Resources(error.to_string()))?,
    };
    let given = all.clone();
    let has = |name: &str| given.iter().any(|resource| resource.name() == name);
    if !(has("cpus") && has("mem") && has("disk")) {
        let found = Capacity::of_host(&config.dir).map_err(Error::Capacity)?.for_tasks();
        let mib = |bytes: u64| (bytes >> 20).to_string();
        let text = [("cpus", found.cpus.to_string()), ("mem", mib(found.memory)), ("disk", mib(found.disk))]
            .into_iter()
            .filter(|(name, _)| !has(name))
            .map(|(name, amount)| format!("{name}:{amount}"))
            .collect::<Vec<_>>()
            .join(";");
        let found = Resources::parse(&text).map_err(|error| Error::Resources(error.to_string()))?;
        found.iter().for_each(|resource| all.push(resource.clone()));
    }
    if !has("ports") {
        let (first, last) = config
            .ports
            .as_ref()
            .map_or(DEFAULT_PORTS, |ports| ((*ports.start()).into(), (*ports.end()).into()));
        all.push(Resource::ranges("ports", Ranges::interval(first, last)));
    }
    Ok(match config.default_role() {
        Some(role) => {
            let refused = |error| Error::Resources(format!("--default_role {role}: {error}"));
            resources::role::validate(role).map_err(refused)?;
            reserve(&all, role)
        }
        None => all,
    })
}

/// What is nobody's becomes the role's.
fn reserve(all: &Resources, role: &str) -> Resources {
    let mut reserved = Resources::new();
    for resource in all.iter() {
        let mut identity = resource.identity().clone();
        if identity.reservations.is_empty() {
            identity.reservations.push(Reservation {
                kind: ReservationKind::Static,
                role: role.into(),
                principal: None,
                labels: None,
            });
        }
        reserved.push(Resource::new(identity, resource.value().clone()));
    }
    reserved
}

/// `name:value;...`, where a value that is a number is one (Mesos: `Attributes::parse`).
fn attributes(config: &Config) -> Result<Vec<Attribute>, Error> {
    let mut all = Vec::new();
    for entry in config.attributes.as_deref().unwrap_or_default().split([';', '\n']) {
        let entry = entry.trim();
        if entry.is_empty() {
            continue;
        }
        let (name, value) = entry
            .split_once(':')
            .map(|(name, value)| (name.trim(), value.trim()))
            .filter(|(name, value)| !name.is_empty() && !value.is_empty())
            .ok_or_else(|| Error::Attributes(entry.to_owned()))?;
        all.push(attribute(name, value));
    }
    if config.public && !all.iter().any(|attribute| attribute.name == "public_ip") {
        all.push(attribute("public_ip", "true"));
    }
    Ok(all)
}

fn attribute(name: &str, value: &str) -> Attribute {
    let mut attribute = Attribute { name: name.to_owned(), ..Default::default() };
    match value.parse::<f64>() {
        Ok(number) if number.is_finite() && value.starts_with(|c: char| c.is_ascii_digit() || c == '-') => {
            attribute.r#type = Type::Scalar as i32;
            attribute.scalar = Some(Scalar { value: number });
        }
        _ => {
            attribute.r#type = Type::Text as i32;
            attribute.text = Some(Text { value: value.to_owned() });
        }
    }
    attribute
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    fn config(resources: &str) -> Config {
        let mut config = Config::new(Ipv4Addr::LOCALHOST, ([127, 0, 0, 1], 5050).into(), "/".into());
        config.resources = Some(resources.to_owned());
        config
    }

    #[test]
    fn ma05_what_is_not_given_is_found() {
        let mut config = config("cpus:1.5;mem(ops):64");
        config.ports = Some(10_000..=10_999);
        let all = resources(&config).unwrap();
        assert_eq!(all.cpus().to_f64(), 1.5);
        assert_eq!(all.reserved_to("ops").mem().to_f64(), 64.0);
        assert!(all.disk().to_f64() > 0.0);
        assert_eq!(all.unreserved().mem().to_f64(), 0.0);
        assert_eq!(all.ports().to_string(), "[10000-10999]");
    }

    #[test]
    fn ma08_a_public_agent_is_for_its_role() {
        let mut config = config("cpus:1;mem:64;disk:10;cpus(ops):2");
        config.public = true;
        let all = resources(&config).unwrap();
        assert!(all.unreserved().is_empty());
        assert_eq!(all.reserved_to("slave_public").cpus().to_f64(), 1.0);
        assert_eq!(all.reserved_to("ops").cpus().to_f64(), 2.0);
        assert_eq!(attributes(&config).unwrap(), [attribute("public_ip", "true")]);
    }

    #[test]
    fn what_is_nobodys_is_the_default_roles() {
        let mut config = config("cpus:1;cpus(ops):2");
        for (role, unreserved) in [("*", 1.0), ("batch", 0.0)] {
            config.default_role = Some(role.to_owned());
            let all = resources(&config).unwrap();
            assert_eq!(all.unreserved().cpus().to_f64(), unreserved);
            assert_eq!(all.reserved_to("ops").cpus().to_f64(), 2.0);
        }
        assert!(attributes(&config).unwrap().is_empty());
        config.default_role = Some("a b".to_owned());
        assert!(matches!(resources(&config), Err(Error::Resources(text)) if text.contains("a b")));
    }

    #[test]
    fn ma05_attributes_are_numbers_or_text() {
        let mut config = config("");
        config.attributes = Some("rack: r1 ;level:10;".to_owned());
        let all = attributes(&config).unwrap();
        assert_eq!(all, [attribute("rack", "r1"), attribute("level", "10")]);
        assert_eq!(all[1].scalar, Some(Scalar { value: 10.0 }));
        config.attributes = Some("rack".to_owned());
        assert!(matches!(attributes(&config), Err(Error::Attributes(entry)) if entry == "rack"));
    }
}
