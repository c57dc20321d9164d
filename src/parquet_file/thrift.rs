//! Thrift's compact protocol, which Parquet's metadata is written in: walked through without keeping any of it.
//!
//! The crate that reads it afterwards goes by the numbers of fields alone. Where a field is of another kind than the format says, the
//! crate reads on elsewhere than a walk that goes by kinds, and what was walked through says nothing of what will be read: so every
//! field that the format knows must have its [`Shape`].

use std::io::Read;

use parquet::errors::Result;

use super::bad;

/// A list of one kind of values.
const LIST: u8 = 9;
/// Numbered fields.
const STRUCT: u8 = 12;

/// What a value must be.
#[derive(Debug, Clone, Copy)]
pub(super) enum Shape {
    /// True or false.
    Bool,
    /// A number of 16 bits.
    I16,
    /// A number of 32 bits, or one of several names.
    I32,
    /// A number of 64 bits.
    I64,
    /// Bytes or text.
    Binary,
    /// Values of one shape.
    List(&'static Shape),
    /// Fields, of which these are known by their numbers; others may be anything.
    Struct(&'static [(i64, Shape)]),
}

impl Shape {
    /// Refuses a value of another kind.
    pub(super) fn expect(&self, kind: u8) -> Result<()> {
        let right = match self {
            Self::Bool => matches!(kind, 1 | 2),
            Self::I16 => kind == 4,
            Self::I32 => kind == 5,
            Self::I64 => kind == 6,
            Self::Binary => kind == 8,
            Self::List(_) => kind == LIST,
            Self::Struct(_) => kind == STRUCT,
        };
        right.then_some(()).ok_or_else(|| bad("its metadata holds a field of another kind than the format says"))
    }
}

/// How deep values may be nested: Parquet's own nest to 7.
const DEEPEST: usize = 24;

/// Walks through a value that is `left` bytes long at most.
pub(super) struct Walker<R> {
    reader: R,
    left: u64,
    /// Values of lists that may still come.
    elements: usize,
}

impl<R: Read> Walker<R> {
    pub(super) fn new(reader: R, left: u64, elements: usize) -> Self {
        Self { reader, left, elements }
    }

    /// Bytes that are left.
    pub(super) fn left(&self) -> u64 {
        self.left
    }

    /// The next bytes.
    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        self.take(N as u64)?;
        let mut bytes = [0; N];
        self.reader.read_exact(&mut bytes)?;
        Ok(bytes)
    }

    fn take(&mut self, bytes: u64) -> Result<()> {
        self.left = self.left.checked_sub(bytes).ok_or_else(|| bad("its metadata is cut short"))?;
        Ok(())
    }

    fn varint(&mut self) -> Result<u64> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let [byte] = self.array()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(bad("its metadata holds a number of more than 64 bits"))
    }

    /// A number that may be negative.
    fn signed(&mut self) -> Result<i64> {
        let value = self.varint()?;
        Ok((value >> 1).cast_signed() ^ -(value & 1).cast_signed())
    }

    /// The number and kind of a struct's next field, `None` at its end; `last` is the number of the one before.
    pub(super) fn field(&mut self, last: &mut i64) -> Result<Option<(i64, u8)>> {
        let [byte] = self.array()?;
        if byte == 0 {
            return Ok(None);
        }
        *last = match byte >> 4 {
            0 => self.signed()?,
            step => last.wrapping_add(i64::from(step)),
        };
        // Larger ones are cut by who reads them as numbers of 16 bits.
        if i16::try_from(*last).is_err() {
            return Err(bad(format!("its metadata holds a field of number {last}")));
        }
        Ok(Some((*last, byte & 15)))
    }

    /// A number of 32 bits, of a field of this kind.
    pub(super) fn number(&mut self, kind: u8) -> Result<i64> {
        Shape::I32.expect(kind)?;
        self.signed()
    }

    /// The number of a list's values, of a field of this kind, which are structs.
    pub(super) fn structs(&mut self, kind: u8) -> Result<u64> {
        Shape::List(&Shape::Bool).expect(kind)?;
        let (count, kind) = self.list()?;
        Shape::Struct(&[]).expect(kind)?;
        Ok(count)
    }

    /// Passes over a field of this number and kind, which is known or not.
    pub(super) fn known(&mut self, id: i64, kind: u8, fields: &[(i64, Shape)]) -> Result<()> {
        self.field_of(id, kind, fields, DEEPEST)
    }

    fn field_of(&mut self, id: i64, kind: u8, fields: &[(i64, Shape)], depth: usize) -> Result<()> {
        match fields.iter().find(|(known, _)| *known == id) {
            Some((_, shape)) => self.shaped(kind, shape, depth),
            None => self.value(kind, depth),
        }
    }

    fn shaped(&mut self, kind: u8, shape: &Shape, depth: usize) -> Result<()> {
        shape.expect(kind)?;
        let inside = depth.saturating_sub(1);
        match shape {
            Shape::List(of) => {
                let (count, kind) = self.list()?;
                (0..count).try_for_each(|_| self.shaped(kind, of, inside))
            }
            Shape::Struct(fields) => {
                let mut last = 0;
                while let Some((id, kind)) = self.field(&mut last)? {
                    self.field_of(id, kind, fields, inside)?;
                }
                Ok(())
            }
            _ => self.value(kind, depth),
        }
    }

    /// The number and kind of a list's values.
    fn list(&mut self) -> Result<(u64, u8)> {
        let [byte] = self.array()?;
        let count = if byte >> 4 == 15 { self.varint()? } else { u64::from(byte >> 4) };
        self.expect(count)?;
        Ok((count, byte & 15))
    }

    /// Refuses more values than there are bytes, or than may come.
    fn expect(&mut self, count: u64) -> Result<()> {
        let allowed = usize::try_from(count).ok().filter(|_| count <= self.left);
        let rest = allowed.and_then(|count| self.elements.checked_sub(count));
        self.elements = rest.ok_or_else(|| bad(format!("its metadata holds a list of {count} values")))?;
        Ok(())
    }

    /// Passes over the value of a field that may be anything.
    fn value(&mut self, kind: u8, depth: usize) -> Result<()> {
        let Some(depth) = depth.checked_sub(1) else {
            return Err(bad(format!("its metadata is nested deeper than {DEEPEST} levels")));
        };
        match kind {
            // A boolean field is its own value.
            1 | 2 => Ok(()),
            3 => self.array::<1>().map(drop),
            4..=6 => self.varint().map(drop),
            7 => self.array::<8>().map(drop),
            8 => {
                let len = self.varint()?;
                self.take(len)?;
                std::io::copy(&mut (&mut self.reader).take(len), &mut std::io::sink())?;
                Ok(())
            }
            LIST | 10 => {
                let (count, kind) = self.list()?;
                (0..count).try_for_each(|_| self.element(kind, depth))
            }
            11 => {
                let count = self.varint()?;
                self.expect(count)?;
                let [kinds] = if count > 0 { self.array()? } else { [0] };
                (0..count).try_for_each(|_| {
                    self.element(kinds >> 4, depth)?;
                    self.element(kinds & 15, depth)
                })
            }
            STRUCT => {
                let mut last = 0;
                while let Some((_, kind)) = self.field(&mut last)? {
                    self.value(kind, depth)?;
                }
                Ok(())
            }
            _ => Err(bad(format!("its metadata holds a value of the unknown kind {kind}"))),
        }
    }

    /// In lists and maps booleans take a byte.
    fn element(&mut self, kind: u8, depth: usize) -> Result<()> {
        self.value(if matches!(kind, 1 | 2) { 3 } else { kind }, depth)
    }
}
