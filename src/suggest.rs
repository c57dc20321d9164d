//! "Did you mean …?": the name that was probably meant by one that isn't known.

/// The candidate that is at most a few typing errors away from `name`: one in three letters may be wrong.
///
/// Case, and which of `-`, `_`, `.` and a space separates words, make no difference.
///
/// ```
/// use privynet::suggest::closest;
///
/// assert_eq!(closest("sed", ["space", "seed"]), Some("seed"));
/// assert_eq!(closest("Frist", ["first", "fisher"]), Some("first"));
/// assert_eq!(closest("best", ["first", "fisher"]), None);
/// ```
pub fn closest<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let plain = |text: &str| text.to_lowercase().replace(['-', '.', ' '], "_");
    let typed = plain(name);
    let most = typed.chars().count() / 3;
    candidates
        .into_iter()
        .map(|candidate| (strsim::damerau_levenshtein(&typed, &plain(candidate)), candidate))
        .filter(|&(distance, _)| distance <= most)
        .min_by_key(|&(distance, _)| distance)
        .map(|(_, candidate)| candidate)
}

/// ` (did you mean `NAME`?)`, or nothing where no candidate comes close.
pub fn did_you_mean<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> String {
    closest(name, candidates).map(question).unwrap_or_default()
}

/// ` (did you mean `NAME`?)`
pub(crate) fn question(name: &str) -> String {
    format!(" (did you mean `{name}`?)")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_letter_in_three_may_be_wrong() {
        let keys = ["compute", "storage", "memory", "upload", "pruned-random"];
        for (typed, meant) in [
            ("computes", Some("compute")),
            ("storgae", Some("storage")),
            ("PRUNED_RANDOM", Some("pruned-random")),
            ("pruned random", Some("pruned-random")),
            ("mem", None),
            ("kb", None),
            ("", None),
            ("latency", None),
        ] {
            assert_eq!(closest(typed, keys), meant, "{typed}");
        }
        assert_eq!(did_you_mean("uplaod", keys), " (did you mean `upload`?)");
        assert_eq!(did_you_mean("cost", keys), "");
    }
}
