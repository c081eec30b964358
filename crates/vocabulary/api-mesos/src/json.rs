//! Writes JSON straight into a buffer, byte for byte as Mesos prints it: doubles with a fraction
//! (`4.0`), no spaces, members in the order in which they are written.

use mesos_proto::json::{write_f64, write_string};

/// A value that [`Object`] and [`Array`] can write.
pub trait ToJson {
    /// Appends the value.
    fn write_to(&self, out: &mut Vec<u8>);
}

impl ToJson for str {
    fn write_to(&self, out: &mut Vec<u8>) {
        write_string(self, out);
    }
}

impl ToJson for &str {
    fn write_to(&self, out: &mut Vec<u8>) {
        write_string(self, out);
    }
}

impl ToJson for String {
    fn write_to(&self, out: &mut Vec<u8>) {
        write_string(self, out);
    }
}

impl ToJson for bool {
    fn write_to(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(if *self { b"true" } else { b"false" });
    }
}

impl ToJson for f64 {
    fn write_to(&self, out: &mut Vec<u8>) {
        write_f64(*self, out);
    }
}

macro_rules! integers {
    ($($type:ty),*) => {$(
        impl ToJson for $type {
            fn write_to(&self, out: &mut Vec<u8>) {
                use std::io::Write;
                write!(out, "{self}").expect("a Vec takes every byte");
            }
        }
    )*};
}
integers!(u16, u32, u64, usize, i32, i64);

/// An object that is being written; the closing brace is written when it is dropped.
pub struct Object<'a> {
    out: &'a mut Vec<u8>,
    empty: bool,
}

impl<'a> Object<'a> {
    /// Opens an object at the end of `out`.
    pub fn open(out: &'a mut Vec<u8>) -> Self {
        out.push(b'{');
        Self { out, empty: true }
    }

    fn name(&mut self, name: &str) -> &mut Vec<u8> {
        if !std::mem::take(&mut self.empty) {
            self.out.push(b',');
        }
        write_string(name, self.out);
        self.out.push(b':');
        self.out
    }

    /// One member with a plain value.
    pub fn field(&mut self, name: &str, value: impl ToJson) -> &mut Self {
        value.write_to(self.name(name));
        self
    }

    /// One member whose value `write` appends itself.
    pub fn raw(&mut self, name: &str, write: impl FnOnce(&mut Vec<u8>)) -> &mut Self {
        write(self.name(name));
        self
    }

    /// One member that is an object.
    pub fn object(&mut self, name: &str, write: impl FnOnce(&mut Object<'_>)) -> &mut Self {
        write(&mut Object::open(self.name(name)));
        self
    }

    /// One member that is an array.
    pub fn array(&mut self, name: &str, write: impl FnOnce(&mut Array<'_>)) -> &mut Self {
        write(&mut Array::open(self.name(name)));
        self
    }
}

impl Drop for Object<'_> {
    fn drop(&mut self) {
        self.out.push(b'}');
    }
}

/// An array that is being written; the closing bracket is written when it is dropped.
pub struct Array<'a> {
    out: &'a mut Vec<u8>,
    empty: bool,
}

impl<'a> Array<'a> {
    /// Opens an array at the end of `out`.
    pub fn open(out: &'a mut Vec<u8>) -> Self {
        out.push(b'[');
        Self { out, empty: true }
    }

    fn next(&mut self) -> &mut Vec<u8> {
        if !std::mem::take(&mut self.empty) {
            self.out.push(b',');
        }
        self.out
    }

    /// One plain element.
    pub fn element(&mut self, value: impl ToJson) {
        value.write_to(self.next());
    }

    /// One element that `write` appends itself.
    pub fn raw(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        write(self.next());
    }

    /// One element that is an object.
    pub fn object(&mut self, write: impl FnOnce(&mut Object<'_>)) {
        write(&mut Object::open(self.next()));
    }
}

impl Drop for Array<'_> {
    fn drop(&mut self) {
        self.out.push(b']');
    }
}

/// The document that `write` makes: one object.
pub fn document(write: impl FnOnce(&mut Object<'_>)) -> Vec<u8> {
    let mut out = Vec::with_capacity(1024);
    write(&mut Object::open(&mut out));
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_keep_their_order_and_strings_are_escaped() {
        let out = document(|o| {
            o.field("b", "a\"\\\n\u{1}é/").field("a", 3u64).array("list", |list| {
                list.element(true);
                list.object(|o| {
                    o.object("empty", |_| {});
                });
            });
        });
        assert_eq!(
            String::from_utf8(out).unwrap(),
            r#"{"b":"a\"\\\n\u0001é/","a":3,"list":[true,{"empty":{}}]}"#
        );
    }
}
