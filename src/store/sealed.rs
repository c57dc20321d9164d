//! JSON objects that carry a checksum of themselves, for files that are read as a whole.
//!
//! The first key is `sum`; it covers every byte after its line. A file without one is of an older version and is taken as it is.

use std::path::Path;

use serde::Serialize;

use super::StoreError;

const BEFORE: &[u8] = b"{\n  \"sum\": \"";
const AFTER: &[u8] = b"\",\n";
const DIGITS: usize = 32;

/// 128 bits of a file's hash, in hexadecimal.
pub(super) fn checksum(bytes: &[u8]) -> String {
    let mut digits = blake3::hash(bytes).to_hex().to_string();
    digits.truncate(DIGITS);
    digits
}

/// An object of at least one field, for the file at `path`.
pub(super) fn encode(path: &Path, object: &impl Serialize) -> Result<Vec<u8>, StoreError> {
    let plain = serde_json::to_vec_pretty(object).map_err(|source| StoreError::Encode { path: path.into(), source })?;
    let fields = plain.strip_prefix(b"{\n").unwrap_or(&plain);
    let rest = [fields, b"\n"].concat();
    Ok([BEFORE, checksum(&rest).as_bytes(), AFTER, &rest].concat())
}

/// Why the bytes are not those that [`encode`] made of an object whose own first field is `first`; `None` where they are, or where
/// an older version wrote them, without a checksum.
pub(super) fn flaw(bytes: &[u8], first: &str) -> Option<&'static str> {
    let Some(sealed) = bytes.strip_prefix(BEFORE) else {
        let text = bytes.strip_prefix(b"{").unwrap_or(bytes).trim_ascii_start();
        let own = text.strip_prefix(b"\"").and_then(|text| text.strip_prefix(first.as_bytes()));
        // A checksum whose own frame is damaged is no older file.
        return own.is_none_or(|rest| !rest.starts_with(b"\"")).then_some("it does not begin as it was written");
    };
    let split = sealed.split_at_checked(DIGITS).and_then(|(sum, rest)| Some((sum, rest.strip_prefix(AFTER)?)));
    split.is_none_or(|(sum, rest)| checksum(rest).as_bytes() != sum).then_some("its checksum does not match")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn no_flipped_bit_and_no_cut_goes_unnoticed() {
        let object = json!({"version": 2, "figures": [1.25, "dB"]});
        let bytes = encode(Path::new("a.json"), &object).unwrap();
        assert_eq!(flaw(&bytes, "version"), None);
        let read: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
        assert_eq!(read["figures"], object["figures"]);
        for at in 0..bytes.len() {
            assert!(flaw(&bytes[..at], "version").is_some(), "cut at {at}");
            for bit in 0..8 {
                let mut flipped = bytes.clone();
                flipped[at] ^= 1 << bit;
                assert!(flaw(&flipped, "version").is_some(), "byte {at}, bit {bit}");
            }
        }
    }

    #[test]
    fn what_an_older_version_wrote_is_taken_as_it_is() {
        for text in ["{\"version\":2}", "{\n  \"version\": 2\n}\n"] {
            assert_eq!(flaw(text.as_bytes(), "version"), None);
        }
        assert!(flaw(b"{\"versions\":2}", "version").is_some());
    }
}
