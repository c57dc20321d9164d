//! Thrift's compact protocol, which Parquet's metadata is written in: walked through without keeping any of it.

use std::io::Read;

use parquet::errors::Result;

use super::bad;

/// A number of 32 bits.
pub(super) const I32: u8 = 5;
/// A list of one kind of values.
pub(super) const LIST: u8 = 9;
/// Numbered fields.
pub(super) const STRUCT: u8 = 12;

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
    pub(super) fn signed(&mut self) -> Result<i64> {
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
        Ok(Some((*last, byte & 15)))
    }

    /// The number and kind of a list's values.
    pub(super) fn list(&mut self) -> Result<(u64, u8)> {
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

    /// Passes over the value of a field.
    pub(super) fn skip(&mut self, kind: u8) -> Result<()> {
        self.value(kind, DEEPEST)
    }

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
