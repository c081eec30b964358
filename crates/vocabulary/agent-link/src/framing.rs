use prost::Message;

use crate::{Frame, LONGEST_FRAME};

/// Why the other side's bytes are no frames. The connection is of no use any more.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// A frame is longer than [`LONGEST_FRAME`].
    #[error("a frame of {0} bytes is longer than the {LONGEST_FRAME} allowed")]
    TooLong(usize),
    /// The bytes of a frame are no protobuf of ours.
    #[error("a frame of {0} bytes is no message")]
    Malformed(usize),
}

/// A frame as it goes on the connection.
pub fn encode(frame: &Frame) -> Vec<u8> {
    let length = frame.encoded_len();
    let mut bytes = Vec::with_capacity(length + 4);
    bytes.extend_from_slice(&(length as u32).to_be_bytes());
    frame.encode_raw(&mut bytes);
    bytes
}

/// Takes the bytes of a connection as they come and gives back whole frames.
#[derive(Debug, Default)]
pub struct Decoder {
    pending: Vec<u8>,
    /// Where in `pending` the next frame begins.
    start: usize,
}

impl Decoder {
    /// Adds what arrived. Take the frames with [`Decoder::next_frame`] before adding more.
    pub fn push(&mut self, arrived: &[u8]) {
        if self.start > 0 {
            self.pending.drain(..self.start);
            self.start = 0;
        }
        self.pending.extend_from_slice(arrived);
    }

    /// The next whole frame, or `None` until more arrives.
    ///
    /// # Errors
    /// The other side sends something else than frames.
    pub fn next_frame(&mut self) -> Result<Option<Frame>, FrameError> {
        let Some((length, rest)) = self.pending[self.start..].split_first_chunk::<4>() else {
            return Ok(None);
        };
        let length = u32::from_be_bytes(*length) as usize;
        if length > LONGEST_FRAME {
            return Err(FrameError::TooLong(length));
        }
        let Some(bytes) = rest.get(..length) else { return Ok(None) };
        let frame = Frame::decode(bytes).map_err(|_| FrameError::Malformed(length))?;
        self.start += 4 + length;
        Ok(Some(frame))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Body, Goodbye, Hello, negotiate};

    #[test]
    fn frames_come_out_however_they_arrive() {
        let goodbye = Frame { seq: 2, ack: 7, body: Some(Body::Goodbye(Goodbye { reason: "done".into() })) };
        let frames = [Frame { seq: 0, ack: 1, body: None }, goodbye, Frame::default()];
        let stream: Vec<u8> = frames.iter().flat_map(encode).collect();
        for arrivals_of in 1..=stream.len() {
            let mut decoder = Decoder::default();
            let mut found = Vec::new();
            for arrived in stream.chunks(arrivals_of) {
                decoder.push(arrived);
                while let Some(frame) = decoder.next_frame().unwrap() {
                    found.push(frame);
                }
            }
            assert_eq!(found, frames, "in pieces of {arrivals_of}");
        }
    }

    #[test]
    fn what_is_no_frame_is_refused() {
        let mut decoder = Decoder::default();
        decoder.push(b"GET / HTTP/1.1");
        assert_eq!(decoder.next_frame(), Err(FrameError::TooLong(0x4745_5420)));
        let mut decoder = Decoder::default();
        decoder.push(&[0, 0, 0, 2, 0xff, 0xff]);
        assert_eq!(decoder.next_frame(), Err(FrameError::Malformed(2)));
    }

    #[test]
    fn versions_meet_or_do_not() {
        let check = |min_version, max_version, version| {
            let hello = Hello { min_version, max_version, ..Default::default() };
            assert_eq!(negotiate(&hello), version);
        };
        check(1, 1, Some(1));
        check(1, 9, Some(2));
        check(2, 9, Some(2));
        check(3, 9, None);
        check(0, 0, None);
    }
}
