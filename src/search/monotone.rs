//! More channels never leak less: a sanity check on what the search measured.
//!
//! An attacker who holds the features of more channels can drop some. Where a design that keeps all channels of another at the
//! same layer leaks less than it in the measurements, the attack on the larger one was not trained enough.

use crate::space::Design;

/// What short trainings may differ by, dB.
const SLACK_DB: f64 = 0.3;

/// Of all contradictions as many are told, the worst first.
const TOLD: usize = 3;

/// Says which designs, each with its mean PSNR and that figure's standard error in dB, seem to leak less than a part of theirs.
pub(super) fn warnings(measured: &[(Design, f64, f64)]) -> Vec<String> {
    let mut found = Vec::new();
    for (whole, of_whole, error) in measured {
        for (part, of_part, part_error) in measured {
            let lost = of_part - of_whole - SLACK_DB.max(3.0 * error.hypot(*part_error));
            if lost > 0.0 && whole != part && whole.contains(part) {
                let text = format!(
                    "sanity: {} keeps all channels of {}, but {of_whole:.2} dB were recovered from it and {of_part:.2} dB from its \
                     part: the short attack on it was not trained enough, and its leakage is higher than shown",
                    whole.id(),
                    part.id()
                );
                found.push((lost, text));
            }
        }
    }
    found.sort_by(|a, b| b.0.total_cmp(&a.0));
    found.into_iter().take(TOLD).map(|(_, text)| text).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::space::ChannelChoice;

    #[test]
    fn a_design_that_leaks_less_than_its_part_is_named() {
        let design =
            |channels: &[u16]| Design { split: "conv3_1".to_owned(), channels: ChannelChoice::set(channels.to_vec()) };
        let (part, whole, other) = (design(&[1, 2]), design(&[1, 2, 5]), design(&[3, 4, 5]));
        let measured = |design: &Design, psnr: f64| (design.clone(), psnr, 0.05);
        let with = |of_whole| warnings(&[measured(&part, 20.0), measured(&whole, of_whole), measured(&other, 10.0)]);
        assert!(with(20.5).is_empty());
        assert!(with(19.8).is_empty(), "within the slack");
        let found = with(19.0);
        assert_eq!(found.len(), 1);
        assert!(found[0].contains(whole.id().as_str()) && found[0].contains("19.00 dB"), "{found:?}");
    }
}
