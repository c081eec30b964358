//! The four compressions, told apart by their first bytes, and their decoders.

use std::io::{self, Read};
use std::num::NonZeroU32;

use crate::Error;
use crate::xz::ParallelXz;

/// The most memory that a stream may demand for its dictionary: what `xz -9` and `zstd --long` take,
/// with room. A stream that claims more is refused instead of believed.
pub(crate) const DICTIONARY_BYTES: u64 = 192 << 20;
/// The same for zstd, whose decoder takes it as a power of two.
const ZSTD_WINDOW_LOG: u32 = 27;
/// How many first bytes tell a compression.
const MAGIC: usize = 6;

/// How bytes are compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Compression {
    /// Not at all.
    None,
    /// RFC 1952, also of several members.
    Gzip,
    /// bzip2, also of several streams.
    Bzip2,
    /// xz, also of several streams.
    Xz,
    /// RFC 8878.
    Zstd,
}

impl Compression {
    /// Tells by the first bytes of a file; six are enough.
    pub fn of_magic(first: &[u8]) -> Compression {
        match first {
            [0x1f, 0x8b, ..] => Compression::Gzip,
            [b'B', b'Z', b'h', b'1'..=b'9', ..] => Compression::Bzip2,
            [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Compression::Xz,
            [0x28, 0xb5, 0x2f, 0xfd, ..] => Compression::Zstd,
            _ => Compression::None,
        }
    }

    /// Reads the first bytes of `source` and tells; they are not lost.
    ///
    /// # Errors
    /// [`Error::Read`], from `source`.
    pub fn detect<R: Read>(mut source: R) -> Result<Detected<R>, Error> {
        let mut first = [0; MAGIC];
        let mut length = 0;
        while length < MAGIC {
            match source.read(&mut first[length..]) {
                Ok(0) => break,
                Ok(read) => length += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(Error::Read(error)),
            }
        }
        Ok(Detected { compression: Compression::of_magic(&first[..length]), first, length, at: 0, source })
    }

    /// As [`Compression::reader`], with so many threads where the compression allows it: an xz of several blocks.
    ///
    /// # Errors
    /// As [`Compression::reader`].
    pub fn parallel_reader<R: Read>(self, source: R, threads: NonZeroU32) -> Result<Decoder<R>, Error> {
        match self {
            Compression::Xz => {
                Ok(Decoder(Inner::ParallelXz(ParallelXz::new(source, threads).map_err(Error::Read)?)))
            }
            _ => self.reader(source),
        }
    }

    /// What `source` is when decompressed.
    ///
    /// # Errors
    /// [`Error::Read`] when the decoder cannot be made.
    pub fn reader<R: Read>(self, source: R) -> Result<Decoder<R>, Error> {
        Ok(Decoder(match self {
            Compression::None => Inner::None(source),
            Compression::Gzip => Inner::Gzip(flate2::read::MultiGzDecoder::new(source)),
            Compression::Bzip2 => Inner::Bzip2(bzip2::read::MultiBzDecoder::new(source)),
            Compression::Xz => {
                let stream = liblzma::stream::Stream::new_stream_decoder(
                    DICTIONARY_BYTES,
                    liblzma::stream::CONCATENATED,
                )
                .map_err(|error| Error::Read(error.into()))?;
                Inner::Xz(liblzma::read::XzDecoder::new_stream(source, stream))
            }
            Compression::Zstd => {
                let mut decoder = zstd::stream::read::Decoder::new(source).map_err(Error::Read)?;
                decoder.window_log_max(ZSTD_WINDOW_LOG).map_err(Error::Read)?;
                Inner::Zstd(decoder)
            }
        }))
    }
}

/// A source whose compression is known; reading it gives the bytes as they are, from the first.
#[derive(Debug)]
pub struct Detected<R> {
    compression: Compression,
    first: [u8; MAGIC],
    length: usize,
    at: usize,
    source: R,
}

impl<R: Read> Detected<R> {
    /// What it is compressed with.
    pub fn compression(&self) -> Compression {
        self.compression
    }

    /// What it is when decompressed.
    ///
    /// # Errors
    /// As [`Compression::reader`].
    pub fn reader(self) -> Result<Decoder<Detected<R>>, Error> {
        self.compression.reader(self)
    }

    /// As [`Detected::reader`], with so many threads where the compression allows it.
    ///
    /// # Errors
    /// As [`Compression::reader`].
    pub fn parallel_reader(self, threads: NonZeroU32) -> Result<Decoder<Detected<R>>, Error> {
        self.compression.parallel_reader(self, threads)
    }
}

impl<R: Read> Read for Detected<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if self.at == self.length {
            return self.source.read(into);
        }
        let count = into.len().min(self.length - self.at);
        into[..count].copy_from_slice(&self.first[self.at..self.at + count]);
        self.at += count;
        Ok(count)
    }
}

/// Decompressed bytes. Large reads are the fast ones: nothing is buffered behind the decoder.
pub struct Decoder<R: Read>(Inner<R>);

enum Inner<R: Read> {
    None(R),
    Gzip(flate2::read::MultiGzDecoder<R>),
    Bzip2(bzip2::read::MultiBzDecoder<R>),
    Xz(liblzma::read::XzDecoder<R>),
    ParallelXz(ParallelXz<R>),
    Zstd(zstd::stream::read::Decoder<'static, io::BufReader<R>>),
}

impl<R: Read> Read for Decoder<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        match &mut self.0 {
            Inner::None(source) => source.read(into),
            Inner::Gzip(decoder) => decoder.read(into),
            Inner::Bzip2(decoder) => decoder.read(into),
            Inner::Xz(decoder) => decoder.read(into),
            Inner::ParallelXz(decoder) => decoder.read(into),
            Inner::Zstd(decoder) => decoder.read(into),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn compressed(compression: Compression, plain: &[u8]) -> Vec<u8> {
        match compression {
            Compression::None => plain.to_vec(),
            Compression::Gzip => {
                let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
                encoder.write_all(plain).unwrap();
                encoder.finish().unwrap()
            }
            Compression::Bzip2 => {
                let mut encoder = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::fast());
                encoder.write_all(plain).unwrap();
                encoder.finish().unwrap()
            }
            Compression::Xz => {
                let mut encoder = liblzma::write::XzEncoder::new(Vec::new(), 0);
                encoder.write_all(plain).unwrap();
                encoder.finish().unwrap()
            }
            Compression::Zstd => zstd::encode_all(plain, 1).unwrap(),
        }
    }

    fn all() -> [Compression; 5] {
        [Compression::None, Compression::Gzip, Compression::Bzip2, Compression::Xz, Compression::Zstd]
    }

    #[test]
    fn each_is_detected_and_read_also_in_several_pieces_and_of_a_slow_source() {
        /// One byte a read.
        struct Slow<'a>(&'a [u8]);
        impl Read for Slow<'_> {
            fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
                let count = into.len().min(1);
                self.0.read(&mut into[..count])
            }
        }
        for compression in all() {
            let mut bytes = compressed(compression, b"the first half, ");
            bytes.extend(compressed(compression, b"the second"));
            let detected = Compression::detect(Slow(&bytes)).unwrap();
            assert_eq!(detected.compression(), compression);
            let mut plain = String::new();
            detected.reader().unwrap().read_to_string(&mut plain).unwrap();
            assert_eq!(plain, "the first half, the second", "{compression:?}");
        }
    }

    #[test]
    fn sources_shorter_than_any_magic_are_plain() {
        for bytes in [&b""[..], b"B", b"BZh"] {
            let detected = Compression::detect(bytes).unwrap();
            assert_eq!(detected.compression(), Compression::None);
            let mut plain = Vec::new();
            detected.reader().unwrap().read_to_end(&mut plain).unwrap();
            assert_eq!(plain, bytes);
        }
    }

    #[test]
    fn what_is_cut_or_damaged_is_an_error() {
        let plain = vec![7; 100_000];
        for compression in all().into_iter().skip(1) {
            let bytes = compressed(compression, &plain);
            let cut = &bytes[..bytes.len() - 5];
            let read = |bytes: &[u8]| compression.reader(bytes).unwrap().read_to_end(&mut Vec::new());
            assert!(read(cut).is_err(), "{compression:?} cut");
            let mut damaged = bytes.clone();
            let middle = damaged.len() / 2;
            damaged[middle] ^= 0x55;
            assert!(read(&damaged).is_err(), "{compression:?} damaged");
        }
    }

    #[test]
    fn a_stream_that_demands_gigabytes_is_refused() {
        // A zstd frame header: a window of 2^31 bytes, then an empty last block.
        let zstd = [0x28, 0xb5, 0x2f, 0xfd, 0x00, 21 << 3, 0x01, 0x00, 0x00];
        let error = Compression::Zstd.reader(&zstd[..]).unwrap().read_to_end(&mut Vec::new()).unwrap_err();
        assert!(error.to_string().contains("memory"), "{error}");

        let mut options = liblzma::stream::LzmaOptions::new_preset(0).unwrap();
        options.dict_size(1 << 30);
        let mut filters = liblzma::stream::Filters::new();
        filters.lzma2(&options);
        let stream = liblzma::stream::Stream::new_stream_encoder(&filters, liblzma::stream::Check::Crc32);
        let mut encoder = liblzma::read::XzEncoder::new_stream(&b"x"[..], stream.unwrap());
        let mut xz = Vec::new();
        encoder.read_to_end(&mut xz).unwrap();
        let error = Compression::Xz.reader(&xz[..]).unwrap().read_to_end(&mut Vec::new()).unwrap_err();
        assert!(error.to_string().contains("limit"), "{error}");
    }
}
