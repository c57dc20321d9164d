//! Changed inputs.

use rand_xoshiro::Xoshiro256PlusPlus;
use rand_xoshiro::rand_core::{RngCore, SeedableRng};

/// Numbers at which sizes break, as the bytes of a field.
const EDGES: [u64; 14] = [
    0,
    1,
    0x7f,
    0x80,
    0xff,
    0x7fff,
    0xffff,
    0x7fff_ffff,
    0x8000_0000,
    0xffff_ffff,
    1 << 32,
    i64::MAX as u64,
    1 << 63,
    u64::MAX,
];

/// Numbers at which sizes break, as digits.
const DIGITS: [&str; 12] = [
    "0",
    "-1",
    "1e308",
    "-1e308",
    "1e-320",
    "255",
    "65536",
    "2147483648",
    "4294967296",
    "9223372036854775807",
    "18446744073709551615",
    "1e400",
];

/// What is not text, or text that means something where it may be shown.
const TEXT: [&str; 8] =
    ["<script>alert(1)</script>", "\u{1b}[2J", "../../x", "/dev/zero", "\u{202e}", "\\u0000", "&*[]{}\"'%", "\n"];

/// Makes inputs of others.
pub struct Mutator {
    rng: Xoshiro256PlusPlus,
    words: &'static [&'static str],
}

impl Mutator {
    pub fn new(seed: u64, words: &'static [&'static str]) -> Self {
        Self { rng: Xoshiro256PlusPlus::seed_from_u64(seed), words }
    }

    fn below(&mut self, most: usize) -> usize {
        (self.rng.next_u64() % most.max(1) as u64) as usize
    }

    fn one<'a, T: ?Sized>(&mut self, of: &[&'a T]) -> &'a T {
        of[self.below(of.len())]
    }

    /// A changed input of the corpus. What was added last is changed most.
    pub fn next(&mut self, corpus: &[Vec<u8>], most: usize) -> Vec<u8> {
        let recent = corpus.len().saturating_sub(self.below(32) + 1);
        let at = if self.below(2) == 0 { recent } else { self.below(corpus.len()) };
        let mut bytes = corpus[at].clone();
        let times = 1 << self.below(5);
        for _ in 0..1 + self.below(times) {
            self.change(&mut bytes, corpus);
        }
        bytes.truncate(most);
        bytes
    }

    fn change(&mut self, bytes: &mut Vec<u8>, corpus: &[Vec<u8>]) {
        let at = self.below(bytes.len());
        let to = at + 1 + self.below((bytes.len() - at).clamp(1, 64));
        let range = at.min(bytes.len())..to.min(bytes.len());
        match self.below(14) {
            0 => bytes.truncate(at),
            1 if !bytes.is_empty() => bytes[at] ^= 1 << self.below(8),
            2 if !bytes.is_empty() => bytes[at] = self.below(256) as u8,
            3 if !bytes.is_empty() => bytes[at] = bytes[at].wrapping_add(1).wrapping_sub(2 * self.below(2) as u8),
            4 => drop(bytes.drain(range)),
            5 => {
                let part = bytes[range].to_vec();
                // Large inputs are slow ones: only a few are wanted.
                let most: usize = if self.below(16) == 0 { 1 << 18 } else { 1 << 14 };
                let times = (1 << self.below(12)).min(most.saturating_sub(bytes.len()) / part.len().max(1));
                bytes.splice(at..at, part.repeat(times));
            }
            6 => self.overwrite_number(bytes, at),
            7 => self.overwrite_varint(bytes, at),
            8 | 9 => self.replace_digits(bytes, at),
            10 => {
                let text = self.one(&TEXT);
                bytes.splice(range, text.bytes());
            }
            11 if !self.words.is_empty() => {
                let word = self.one(self.words);
                let range = if self.below(2) == 0 { at.min(bytes.len())..at.min(bytes.len()) } else { range };
                bytes.splice(range, word.bytes());
            }
            12 => {
                // The beginning of one, the end of another.
                let at_other = self.below(corpus.len());
                let other = &corpus[at_other];
                let from = self.below(other.len());
                bytes.truncate(at);
                bytes.extend_from_slice(&other[from..]);
            }
            _ => {
                // A part of the same elsewhere.
                let part = bytes[range].to_vec();
                let place = self.below(bytes.len());
                let end = (place + part.len()).min(bytes.len());
                bytes.splice(place..end, part);
            }
        }
    }

    /// A field of 1, 2, 4 or 8 bytes.
    fn overwrite_number(&mut self, bytes: &mut [u8], at: usize) {
        let edge = EDGES[self.below(EDGES.len())].wrapping_add(self.below(3) as u64).wrapping_sub(1);
        let width = 1 << self.below(4);
        let field = if self.below(2) == 0 { edge.to_le_bytes() } else { (edge << (64 - 8 * width)).to_be_bytes() };
        for (byte, value) in bytes.iter_mut().skip(at).zip(&field[..width]) {
            *byte = *value;
        }
    }

    /// A length as protobuf and thrift write it.
    fn overwrite_varint(&mut self, bytes: &mut Vec<u8>, at: usize) {
        let mut value = EDGES[self.below(EDGES.len())];
        let mut field = Vec::new();
        while value >= 0x80 {
            field.push(value as u8 | 0x80);
            value >>= 7;
        }
        field.push(value as u8);
        let end = (at + self.below(3)).min(bytes.len());
        bytes.splice(at.min(end)..end, field);
    }

    /// The next number that is written out.
    fn replace_digits(&mut self, bytes: &mut Vec<u8>, at: usize) {
        let Some(start) = bytes.iter().skip(at).position(u8::is_ascii_digit).map(|found| at + found) else { return };
        let end =
            bytes[start..].iter().position(|b| !b.is_ascii_digit() && *b != b'.').map_or(bytes.len(), |n| start + n);
        let digits = self.one(&DIGITS);
        bytes.splice(start..end, digits.bytes());
    }
}
