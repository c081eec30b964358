use std::collections::BTreeSet;

use mesos_proto::v1;
use resources::{Ranges, Scalar};

/// What is left of an offer's resources while tasks are matched against it.
#[derive(Clone, Debug)]
pub(crate) struct Pool {
    pieces: Vec<Piece>,
}

#[derive(Clone, Debug)]
struct Piece {
    /// The offered resource; what is taken is it with another value.
    offered: v1::Resource,
    role: String,
    /// Taken before others: reserved for a role.
    reserved: bool,
    amount: Amount,
}

#[derive(Clone, Debug)]
enum Amount {
    Scalar(Scalar),
    Ranges(Ranges),
}

/// A port and the piece that it is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct OfferedPort {
    pub(crate) port: u16,
    piece: usize,
}

impl Pool {
    /// The resources that an app may use which accepts these roles. Disks with a source, persistent volumes and
    /// revocable resources are nobody's.
    pub(crate) fn of(offer: &v1::Offer) -> Pool {
        let usable = |resource: &&v1::Resource| resource.disk.is_none() && resource.revocable.is_none();
        let mut pieces: Vec<Piece> = offer.resources.iter().filter(usable).filter_map(Piece::of).collect();
        // Marathon takes reserved resources first, so that others are left for those that have nothing reserved.
        pieces.sort_by_key(|piece| !piece.reserved);
        Pool { pieces }
    }

    /// Whether there is anything at all for these roles.
    pub(crate) fn has_any(&self, roles: &BTreeSet<String>) -> bool {
        self.pieces.iter().any(|piece| roles.contains(&piece.role))
    }

    /// Takes this much of a scalar, from several pieces if need be; nothing and `None` if there is not enough.
    pub(crate) fn take_scalar(
        &mut self,
        name: &str,
        wanted: Scalar,
        roles: &BTreeSet<String>,
    ) -> Option<Vec<v1::Resource>> {
        let mut taken = Vec::new();
        let mut missing = wanted;
        for (index, piece) in self.pieces.iter().enumerate() {
            let Amount::Scalar(left) = piece.amount else { continue };
            if missing <= Scalar::ZERO {
                break;
            }
            if piece.offered.name == name && roles.contains(&piece.role) && left > Scalar::ZERO {
                let part = left.min(missing);
                missing = missing.minus(part);
                taken.push((index, part));
            }
        }
        if missing > Scalar::ZERO {
            return None;
        }
        Some(taken.into_iter().map(|(index, part)| self.pieces[index].take_scalar(part)).collect())
    }

    /// The intervals of ports on offer for these roles, each with its piece.
    pub(crate) fn ports(&self, roles: &BTreeSet<String>) -> Vec<(OfferedPort, u16)> {
        let mut intervals = Vec::new();
        for (index, piece) in self.pieces.iter().enumerate() {
            let Amount::Ranges(ranges) = &piece.amount else { continue };
            if piece.offered.name != "ports" || !roles.contains(&piece.role) {
                continue;
            }
            for (begin, end) in ranges.intervals() {
                let (Ok(begin), Ok(end)) = (u16::try_from(*begin), u16::try_from((*end).min(65_535))) else {
                    continue;
                };
                intervals.push((OfferedPort { port: begin, piece: index }, end));
            }
        }
        intervals
    }

    /// Takes these ports, which must be on offer.
    pub(crate) fn take_ports(&mut self, ports: &[OfferedPort]) -> Vec<v1::Resource> {
        let mut taken = Vec::new();
        for (index, piece) in self.pieces.iter_mut().enumerate() {
            let of_piece = ports.iter().filter(|port| port.piece == index);
            let wanted = Ranges::from_intervals(of_piece.map(|port| (port.port.into(), port.port.into())));
            if !wanted.is_empty() {
                taken.push(piece.take_ranges(&wanted));
            }
        }
        taken
    }
}

impl OfferedPort {
    /// The port `offset` further in the same interval.
    pub(crate) fn plus(self, offset: u16) -> OfferedPort {
        OfferedPort { port: self.port + offset, ..self }
    }
}

impl Piece {
    fn of(resource: &v1::Resource) -> Option<Piece> {
        let amount = match resource.r#type() {
            v1::value::Type::Scalar => Amount::Scalar(Scalar::from_f64(resource.scalar.as_ref()?.value)?),
            v1::value::Type::Ranges => {
                let ranges = &resource.ranges.as_ref()?.range;
                Amount::Ranges(Ranges::from_intervals(ranges.iter().map(|range| (range.begin, range.end))))
            }
            _ => return None,
        };
        let role = role_of(resource).to_owned();
        Some(Piece { reserved: role != "*", role, offered: resource.clone(), amount })
    }

    fn take_scalar(&mut self, part: Scalar) -> v1::Resource {
        if let Amount::Scalar(left) = &mut self.amount {
            *left = left.minus(part);
        }
        let scalar = Some(v1::value::Scalar { value: part.to_f64() });
        v1::Resource { scalar, ..self.offered.clone() }
    }

    fn take_ranges(&mut self, part: &Ranges) -> v1::Resource {
        if let Amount::Ranges(left) = &mut self.amount {
            *left = left.difference(part);
        }
        let range = part
            .intervals()
            .iter()
            .map(|(begin, end)| v1::value::Range { begin: *begin, end: *end })
            .collect();
        v1::Resource { ranges: Some(v1::value::Ranges { range }), ..self.offered.clone() }
    }
}

/// The role that a resource is reserved for, in either form of Mesos' reservations; `*` if for none.
pub(crate) fn role_of(resource: &v1::Resource) -> &str {
    #[allow(deprecated)] // the form that frameworks get which cannot deal with refined reservations
    let unrefined = resource.role.as_deref().unwrap_or("*");
    resource.reservations.last().map_or(unrefined, |reservation| reservation.role.as_deref().unwrap_or("*"))
}
