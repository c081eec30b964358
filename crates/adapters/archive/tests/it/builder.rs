//! Tars as no honest program would write them.

/// A tar that grows.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tar(pub(crate) Vec<u8>);

/// The fields of one header.
#[derive(Clone, Debug)]
pub(crate) struct Head {
    pub(crate) path: Vec<u8>,
    pub(crate) kind: u8,
    pub(crate) link: Vec<u8>,
    pub(crate) mode: u32,
    pub(crate) uid: u64,
    pub(crate) gid: u64,
    pub(crate) size: u64,
    pub(crate) time: u64,
    pub(crate) device: (u32, u32),
}

impl Head {
    pub(crate) fn new(kind: u8, path: impl AsRef<[u8]>) -> Head {
        Head {
            path: path.as_ref().to_vec(),
            kind,
            link: Vec::new(),
            mode: if kind == b'5' { 0o755 } else { 0o644 },
            uid: 0,
            gid: 0,
            size: 0,
            time: 1_000_000_000,
            device: (0, 0),
        }
    }

    pub(crate) fn block(&self) -> [u8; 512] {
        let mut block = [0; 512];
        let mut put = |at: usize, bytes: &[u8]| block[at..at + bytes.len()].copy_from_slice(bytes);
        put(0, &self.path[..self.path.len().min(100)]);
        put(100, format!("{:07o}\0", self.mode).as_bytes());
        put(108, format!("{:07o}\0", self.uid).as_bytes());
        put(116, format!("{:07o}\0", self.gid).as_bytes());
        put(124, format!("{:011o}\0", self.size).as_bytes());
        put(136, format!("{:011o}\0", self.time).as_bytes());
        put(156, &[self.kind]);
        put(157, &self.link[..self.link.len().min(100)]);
        put(257, b"ustar\x0000");
        put(329, format!("{:07o}\0{:07o}\0", self.device.0, self.device.1).as_bytes());
        seal(&mut block);
        block
    }
}

/// Writes the right checksum.
pub(crate) fn seal(block: &mut [u8; 512]) {
    block[148..156].fill(b' ');
    let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
    block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
}

impl Tar {
    pub(crate) fn new() -> Tar {
        Tar::default()
    }

    /// A header as it is, with contents whatever its size field says.
    pub(crate) fn raw(mut self, head: &Head, contents: &[u8]) -> Tar {
        self.0.extend(head.block());
        self.padded(contents)
    }

    pub(crate) fn padded(mut self, contents: &[u8]) -> Tar {
        self.0.extend(contents);
        self.0.resize(self.0.len().next_multiple_of(512), 0);
        self
    }

    pub(crate) fn entry(self, mut head: Head, contents: &[u8]) -> Tar {
        head.size = contents.len() as u64;
        self.raw(&head, contents)
    }

    pub(crate) fn file(self, path: impl AsRef<[u8]>, contents: impl AsRef<[u8]>) -> Tar {
        self.entry(Head::new(b'0', path), contents.as_ref())
    }

    pub(crate) fn dir(self, path: impl AsRef<[u8]>) -> Tar {
        self.entry(Head::new(b'5', path), b"")
    }

    pub(crate) fn symlink(self, path: impl AsRef<[u8]>, to: impl AsRef<[u8]>) -> Tar {
        self.entry(Head { link: to.as_ref().to_vec(), ..Head::new(b'2', path) }, b"")
    }

    pub(crate) fn link(self, path: impl AsRef<[u8]>, to: impl AsRef<[u8]>) -> Tar {
        self.entry(Head { link: to.as_ref().to_vec(), ..Head::new(b'1', path) }, b"")
    }

    pub(crate) fn device(self, kind: u8, path: impl AsRef<[u8]>, device: (u32, u32)) -> Tar {
        self.entry(Head { device, ..Head::new(kind, path) }, b"")
    }

    /// An extended header for the next entry, of records `key=value`.
    pub(crate) fn pax(self, records: &[(&str, &[u8])]) -> Tar {
        let mut text = Vec::new();
        for (key, value) in records {
            let body = key.len() + value.len() + 3;
            let mut length = body + 1;
            while length != body + length.to_string().len() {
                length = body + length.to_string().len();
            }
            text.extend(format!("{length} {key}=").bytes());
            text.extend(*value);
            text.push(b'\n');
        }
        self.entry(Head::new(b'x', "PaxHeaders/x"), &text)
    }

    pub(crate) fn end(mut self) -> Vec<u8> {
        self.0.extend([0; 1024]);
        self.0
    }
}
