//! Times in JSON as Marathon writes them: ISO 8601 in UTC with milliseconds.

use base::Wall;
use serde::{Deserialize, Deserializer, Serializer, de::Error};

pub(crate) fn serialize<S: Serializer>(time: &Wall, out: S) -> Result<S::Ok, S::Error> {
    out.collect_str(time)
}

pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Wall, D::Error> {
    let text = std::borrow::Cow::<'de, str>::deserialize(from)?;
    Wall::parse_iso8601(&text).ok_or_else(|| D::Error::custom(format!("'{text}' is no ISO 8601 time in UTC")))
}

pub(crate) mod optional {
    use super::*;

    pub(crate) fn serialize<S: Serializer>(time: &Option<Wall>, out: S) -> Result<S::Ok, S::Error> {
        match time {
            Some(time) => out.collect_str(time),
            None => out.serialize_none(),
        }
    }
}

pub(crate) mod list {
    use super::*;

    pub(crate) fn serialize<S: Serializer>(times: &[Wall], out: S) -> Result<S::Ok, S::Error> {
        out.collect_seq(times.iter().map(|time| time.to_iso8601()))
    }
}
