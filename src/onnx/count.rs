//! Counting what an ONNX file holds before it is decoded: an empty node takes two bytes of the file and some hundred of memory.

use super::error::Problem;

/// Most nodes, attributes, names, tensors and the like together: nets of images have some ten thousand.
const MOST_PARTS: usize = 1 << 19;

/// The messages that parts are counted in.
#[derive(Clone, Copy)]
enum Message {
    Model,
    Graph,
    Node,
    Attribute,
    Value,
    Type,
    TensorType,
    Shape,
    /// One that holds nothing to count, or is not decoded.
    Leaf,
}

impl Message {
    /// What the field of this number holds.
    fn field(self, number: u64) -> Self {
        match (self, number) {
            (Self::Model, 7) => Self::Graph,
            (Self::Graph, 1) => Self::Node,
            (Self::Graph, 11 | 12) => Self::Value,
            (Self::Node, 5) => Self::Attribute,
            (Self::Value, 2) => Self::Type,
            (Self::Type, 1) => Self::TensorType,
            (Self::TensorType, 2) => Self::Shape,
            _ => Self::Leaf,
        }
    }
}

/// Refuses a file of too many parts. One that is damaged is left to the decoder, which stops where this does.
pub(super) fn check(bytes: &[u8]) -> Result<(), Problem> {
    let mut left = MOST_PARTS;
    match count(bytes, Message::Model, &mut left) {
        Some(()) => Ok(()),
        None if left == 0 => Err(Problem::TooManyParts(MOST_PARTS)),
        None => Ok(()),
    }
}

/// Takes the parts of a message from `left`; `None` where it is damaged, or nothing is left.
fn count(mut bytes: &[u8], message: Message, left: &mut usize) -> Option<()> {
    while !bytes.is_empty() {
        let tag = varint(&mut bytes)?;
        let skipped = match tag & 7 {
            0 => {
                varint(&mut bytes)?;
                0
            }
            1 => 8,
            2 => {
                let length = usize::try_from(varint(&mut bytes)?).ok()?;
                let part = bytes.get(..length)?;
                *left = left.checked_sub(1)?;
                let inner = message.field(tag >> 3);
                if !matches!(inner, Message::Leaf) {
                    count(part, inner, left)?;
                }
                length
            }
            5 => 4,
            _ => return None,
        };
        bytes = bytes.get(skipped..)?;
    }
    Some(())
}

fn varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (&byte, rest) = bytes.split_first()?;
        *bytes = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A field of this number that holds `bytes`.
    fn field(number: u8, bytes: &[u8]) -> Vec<u8> {
        let mut length = Vec::new();
        let mut rest = bytes.len();
        while rest >= 0x80 {
            length.push(rest as u8 | 0x80);
            rest >>= 7;
        }
        length.push(rest as u8);
        [vec![number << 3 | 2], length, bytes.to_vec()].concat()
    }

    #[test]
    fn empty_nodes_attributes_and_dimensions_are_counted_before_they_take_memory() {
        let many = |number: u8| field(number, &[]).repeat(MOST_PARTS + 1);
        let attributes = field(7, &field(1, &many(5)));
        let dimensions = field(7, &field(11, &field(2, &field(1, &field(2, &many(1))))));
        for bytes in [field(7, &many(1)), attributes, dimensions, many(8)] {
            let found = crate::onnx::import(&bytes).unwrap_err();
            assert!(matches!(found, Problem::TooManyParts(_)), "{found}");
        }
        assert!(check(&field(7, &field(1, &[]).repeat(MOST_PARTS - 1))).is_ok());
    }

    #[test]
    fn a_damaged_file_is_the_decoders_to_refuse() {
        assert!(check(&[0x3a, 0xff, 0xff, 0xff, 0xff, 0x0f, 1]).is_ok());
        assert!(check(&[0xff; 11]).is_ok());
    }
}
