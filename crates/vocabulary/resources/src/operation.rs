use mesos_proto::v1::offer::{Operation, operation};

use crate::{Identity, NotContained, ReservationKind, Resources};

/// What an operation makes of resources: it takes `consumed` and leaves `converted` in its place.
/// Mesos: `ResourceConversion`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conversion {
    /// What there must be.
    pub consumed: Resources,
    /// What there is instead afterwards.
    pub converted: Resources,
}

impl Conversion {
    /// The same of resources that are allocated to nobody.
    #[must_use]
    pub fn unallocated(&self) -> Conversion {
        Conversion { consumed: self.consumed.unallocated(), converted: self.converted.unallocated() }
    }
}

impl Resources {
    /// Converts one after the other, so that a later one may take what an earlier one left.
    ///
    /// # Errors
    /// Changes nothing if one of them does not find what it takes.
    pub fn apply(&mut self, conversions: &[Conversion]) -> Result<(), NotContained> {
        let mut result = self.clone();
        for Conversion { consumed, converted } in conversions {
            result.subtract(consumed)?;
            result += converted;
        }
        *self = result;
        Ok(())
    }
}

/// What an operation asks for: one conversion after the other. Its resources must have been validated.
/// Mesos: `getResourceConversions`.
///
/// # Errors
/// Says which operations do not convert resources, or which resource is none.
pub fn conversions(operation: &Operation) -> Result<Vec<Conversion>, String> {
    let read = |list| Resources::from_wire(list).map_err(|error| error.to_string());
    match operation.r#type() {
        operation::Type::Reserve => {
            let reserve = operation.reserve.as_ref().ok_or("Expecting 'reserve' to be present")?;
            let converted = read(&reserve.resources)?;
            let consumed =
                if reserve.source.is_empty() { converted.pop_reservation() } else { read(&reserve.source)? };
            Ok(vec![Conversion { consumed, converted }])
        }
        operation::Type::Unreserve => {
            let unreserve = operation.unreserve.as_ref().ok_or("Expecting 'unreserve' to be present")?;
            unreserve
                .resources
                .iter()
                .map(|reserved| {
                    let consumed = read(std::slice::from_ref(reserved))?;
                    Ok(Conversion { converted: consumed.pop_reservation(), consumed })
                })
                .collect()
        }
        _ => Err("Operation not supported".to_owned()),
    }
}

impl Identity {
    /// Whether the last reservation was made at run time, so that it can be taken back.
    pub fn is_dynamically_reserved(&self) -> bool {
        self.reservations.last().is_some_and(|last| last.kind == ReservationKind::Dynamic)
    }
}

impl Resources {
    /// The same amounts without their last reservations.
    #[must_use]
    pub fn pop_reservation(&self) -> Resources {
        self.map(|identity| !identity.reservations.is_empty(), |identity| drop(identity.reservations.pop()))
    }

    /// What was reserved at run time: an agent has to remember it.
    #[must_use]
    pub fn dynamically_reserved(&self) -> Resources {
        self.filter(Identity::is_dynamically_reserved)
    }

    /// The same amounts as the agent was configured with: without what was done to them at run time.
    #[must_use]
    pub fn as_configured(&self) -> Resources {
        self.map(Identity::is_dynamically_reserved, |identity| {
            identity.reservations.retain(|reservation| reservation.kind == ReservationKind::Static);
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conversions_are_all_done_or_none() {
        let parse = |text: &str| Resources::parse(text).unwrap();
        let conversion = |consumed: &str, converted: &str| Conversion {
            consumed: parse(consumed),
            converted: parse(converted),
        };
        let mut have = parse("cpus:2;mem:10");
        have.apply(&[conversion("cpus:1", "cpus(a):1"), conversion("cpus(a):1", "cpus(a/b):1")]).unwrap();
        assert_eq!(have, parse("cpus:1;mem:10;cpus(a/b):1"));
        let before = have.clone();
        let error = have.apply(&[conversion("cpus:1", "cpus(a):1"), conversion("mem:11", "mem(a):11")]);
        assert_eq!(error.unwrap_err().want, parse("mem:11"));
        assert_eq!(have, before);
    }

    fn operation(json: &str) -> Operation {
        mesos_proto::json::from_json(json.as_bytes()).unwrap()
    }

    const RESERVED: &str = r#"{"name":"cpus","type":"SCALAR","scalar":{"value":1},"allocation_info":{"role":"a/b"},
        "reservations":[{"type":"STATIC","role":"a"},{"type":"DYNAMIC","role":"a/b","principal":"p"}]}"#;

    #[test]
    fn a_reservation_is_pushed_and_popped() {
        let reserve = operation(&format!(r#"{{"type":"RESERVE","reserve":{{"resources":[{RESERVED}]}}}}"#));
        let unreserve =
            operation(&format!(r#"{{"type":"UNRESERVE","unreserve":{{"resources":[{RESERVED}]}}}}"#));
        let made = conversions(&reserve).unwrap();
        let [there] = &made[..] else { panic!("{made:?}") };
        assert_eq!(there.consumed.to_string(), "cpus(allocated: a/b)(reservations: [(STATIC,a)]):1");
        assert_eq!(
            there.converted.to_string(),
            "cpus(allocated: a/b)(reservations: [(STATIC,a),(DYNAMIC,a/b,p)]):1"
        );
        let [back] = &conversions(&unreserve).unwrap()[..] else { panic!("one resource") };
        assert_eq!((&back.consumed, &back.converted), (&there.converted, &there.consumed));
        let mut agent = Resources::parse("cpus(a):3;mem:10").unwrap();
        let before = agent.clone();
        agent.apply(&[there.unallocated()]).unwrap();
        assert_eq!(agent.as_configured(), before);
        assert_eq!(agent.dynamically_reserved(), there.converted.unallocated());
        agent.apply(&[back.unallocated()]).unwrap();
        assert_eq!(agent, before);
    }

    #[test]
    fn a_reservation_is_changed_in_place() {
        let to = RESERVED.replace("a/b", "a/c");
        let json = format!(r#"{{"type":"RESERVE","reserve":{{"source":[{RESERVED}],"resources":[{to}]}}}}"#);
        let made = conversions(&operation(&json)).unwrap();
        assert!(made[0].consumed.to_string().contains("DYNAMIC,a/b,p"));
        assert!(made[0].converted.to_string().contains("DYNAMIC,a/c,p"));
    }

    #[test]
    fn what_converts_nothing_is_refused() {
        for kind in ["LAUNCH", "LAUNCH_GROUP", "CREATE_DISK", "UNKNOWN"] {
            let error = conversions(&operation(&format!(r#"{{"type":"{kind}"}}"#))).unwrap_err();
            assert_eq!(error, "Operation not supported");
        }
        assert!(conversions(&operation(r#"{"type":"RESERVE"}"#)).is_err());
    }
}
