//! What was probably meant, read off a message that says what was found and what is accepted.

use crate::suggest::closest;

/// How messages introduce a name that isn't known.
const INTRODUCTIONS: [&str; 4] = ["unknown field `", "unknown value `", "invalid value: string \"", "`"];

/// Where in the message the name that isn't known ends, its quotes included, and the accepted one that comes closest.
pub(super) fn of(message: &str) -> Option<(usize, &str)> {
    let introduction = INTRODUCTIONS.iter().find_map(|text| Some(message.find(text)? + text.len()));
    let start = introduction?;
    let name = message[start..].split(['`', '"']).next()?;
    let end = start + name.len() + 1;
    let rest = message.get(end..)?;
    let (_, accepted) = rest.split_once("expected ").or_else(|| rest.split_once("accepted are "))?;
    let is_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | 'µ');
    let candidates = accepted.split(|c: char| !is_name(c)).filter(|word| !["one", "of", "or", ""].contains(word));
    closest(name, candidates).filter(|meant| *meant != name).map(|meant| (end, meant))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_message_is_read() {
        for (message, meant) in [
            ("unknown field `sed`, expected one of `space`, `seed`", Some("seed")),
            ("privacy: unknown field `pnsr`, expected `psnr` or `ssim`", Some("psnr")),
            ("effort: unknown value `quik`, expected one of `quick`, `standard`", Some("quick")),
            ("p: invalid value: string \"imagnet\", expected imagenet, caffe, or {mean: [R, G, B]}", Some("imagenet")),
            ("compute: `MMACS` is not a unit of compute: accepted are MAC, MMAC, GMAC, for example", Some("MMAC")),
            ("unknown field `cost`, expected one of `space`, `seed`", None),
            ("`30` has no unit: write for example `30 MMAC`", None),
            ("did not find expected ',' or ']'", None),
        ] {
            let found = of(message);
            assert_eq!(found.map(|(_, meant)| meant), meant, "{message}");
            if let Some((end, _)) = found {
                assert!(message[..end].ends_with(['`', '"']), "{message}");
            }
        }
    }
}
