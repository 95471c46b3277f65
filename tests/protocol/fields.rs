//! Protobuf and frames in code of their own, so that the vectors do not rest on the encoder that they are to check.

/// A message, field by field in the order in which they are added. What is zero or empty is left out, as in proto3.
#[derive(Clone, Default)]
pub struct Fields(Vec<u8>);

impl Fields {
    pub fn new() -> Self {
        Self::default()
    }

    pub fn number(mut self, field: u64, value: u64) -> Self {
        if value != 0 {
            varint(&mut self.0, field << 3);
            varint(&mut self.0, value);
        }
        self
    }

    pub fn bytes(self, field: u64, value: impl AsRef<[u8]>) -> Self {
        if value.as_ref().is_empty() { self } else { self.element(field, value) }
    }

    /// A repeated or embedded field, there also where it is empty.
    pub fn element(mut self, field: u64, value: impl AsRef<[u8]>) -> Self {
        varint(&mut self.0, field << 3 | 2);
        varint(&mut self.0, value.as_ref().len() as u64);
        self.0.extend_from_slice(value.as_ref());
        self
    }

    pub fn encoded(self) -> Vec<u8> {
        self.0
    }

    pub fn frame(self, kind: u8) -> Vec<u8> {
        let length = u32::try_from(self.0.len() + 1).unwrap();
        [&length.to_be_bytes()[..], &[kind], &self.0].concat()
    }
}

impl AsRef<[u8]> for Fields {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

fn varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn read_varint(bytes: &mut &[u8]) -> u64 {
    let (mut value, mut shift) = (0, 0);
    loop {
        let (byte, rest) = bytes.split_first().expect("a whole number");
        *bytes = rest;
        value |= u64::from(byte & 0x7f) << shift;
        shift += 7;
        if byte & 0x80 == 0 {
            return value;
        }
    }
}

/// What a field holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Value<'a> {
    Number(u64),
    Bytes(&'a [u8]),
}

/// The fields of a message in their order.
pub fn read(mut bytes: &[u8]) -> Vec<(u64, Value<'_>)> {
    let mut fields = Vec::new();
    while !bytes.is_empty() {
        let tag = read_varint(&mut bytes);
        let value = match tag & 7 {
            0 => Value::Number(read_varint(&mut bytes)),
            2 => {
                let length = usize::try_from(read_varint(&mut bytes)).unwrap();
                let (value, rest) = bytes.split_at(length);
                bytes = rest;
                Value::Bytes(value)
            }
            other => panic!("wire type {other}"),
        };
        fields.push((tag >> 3, value));
    }
    fields
}

/// The bytes of a field that stands once.
pub fn bytes_of(message: &[u8], field: u64) -> &[u8] {
    let found: Vec<_> = read(message).into_iter().filter(|(number, _)| *number == field).collect();
    match found[..] {
        [(_, Value::Bytes(bytes))] => bytes,
        _ => panic!("field {field} stands {} times", found.len()),
    }
}

/// Frames one after the other: type, message, and where the frame begins.
pub fn frames(mut bytes: &[u8]) -> Vec<(u8, &[u8], usize)> {
    let (whole, mut frames) = (bytes.len(), Vec::new());
    while !bytes.is_empty() {
        let start = whole - bytes.len();
        let (length, rest) = bytes.split_first_chunk::<4>().expect("a whole length");
        let (frame, rest) = rest.split_at(u32::from_be_bytes(*length) as usize);
        frames.push((frame[0], &frame[1..], start));
        bytes = rest;
    }
    frames
}
