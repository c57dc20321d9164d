//! Every attack on one design, the strongest there are, with the evidence that each was run to its end.
//!
//! Where a search must be quick, an audit need not: beside the linear map and the reference decoder it trains a deep decoder
//! for squared error and one for structural similarity, and inverts the local net by gradient descent. What it finds is laid
//! beside what was claimed of the design.

mod attack;
mod effort;

use serde::{Deserialize, Serialize};

use crate::config::Attacker;
use crate::estimate::{
    DecoderAttack, EnsembleAttack, Estimate, EstimateError, Estimator, Gallery, InversionAttack, KernelAttack,
    Laboratory, LinearAttack, Reconstructions, Request, ShadowAttack, Watch, found_out, mean_psnr_of, validation_psnr,
};
use crate::export::Claim;
use crate::identify::secrecy_bits;
use crate::measurement::{Fidelity, Metric};
use crate::protocol::{ImageLoss, Protocol};
use crate::space::{ChannelChoice, Design};

pub use attack::Attack;
pub use effort::Effort;

/// A figure with its standard error over images.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Figure {
    /// The figure.
    pub value: f64,
    /// Its standard error.
    pub std_error: f64,
}

/// What one attack recovered.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Finding {
    /// The attack.
    pub attack: Attack,
    /// Images that were reconstructed and scored.
    pub images: u64,
    /// PSNR over images, dB: mean.
    pub psnr_mean: Figure,
    /// 95th percentile.
    pub psnr_p95: Figure,
    /// The best-reconstructed image.
    pub psnr_max: f64,
    /// PSNR of the pooled squared error, dB.
    pub psnr_pooled: f64,
    /// Mean PSNR over the class that is recovered best, dB.
    pub psnr_worst_class: Option<Figure>,
    /// Mean SSIM.
    pub ssim_mean: Figure,
    /// Mean PSNR on the images that were inverted, dB: for comparing attacks on the same ones.
    pub psnr_on_inverted: Option<f64>,
    /// What sixteen times the training would reach by the learning curve: mean PSNR, its 95th percentile, mean SSIM.
    pub extended: [Option<f64>; 3],
    /// Whether training or descent had come to its end on the attacker's validation images; `None` for what needs none.
    pub converged: Option<bool>,
    /// What else it found.
    pub remark: Option<String>,
    /// How long it took.
    pub seconds: f64,
    /// Its best, median and worst image.
    pub gallery: Option<Gallery>,
}

impl Finding {
    /// The finding of `attack` from its rows; `None` where it yielded none.
    fn new(attack: Attack, estimate: Estimate, on_inverted: Option<f64>) -> Option<Self> {
        // Their rows have names of their own.
        let named = |metric: Metric| match attack {
            Attack::Linear => metric.of(&Metric::LINEAR).unwrap_or(metric),
            Attack::Kernel => metric.of(&Metric::KERNEL).unwrap_or(metric),
            Attack::Ensemble => metric.of(&Metric::ENSEMBLE).unwrap_or(metric),
            _ => metric,
        };
        let row = |metric: Metric| estimate.measurements.iter().find(|row| row.metric == named(metric));
        let figure = |metric| row(metric).map(|row| Figure { value: row.value, std_error: row.std_error });
        let extended = |metric: Metric| row(metric.extended()?).map(|row| row.value);
        let mean = row(Metric::PsnrMean)?;
        Some(Self {
            attack,
            images: mean.n,
            psnr_mean: figure(Metric::PsnrMean)?,
            psnr_p95: figure(Metric::PsnrP95)?,
            psnr_max: row(Metric::PsnrMax)?.value,
            psnr_pooled: row(Metric::PsnrPooled)?.value,
            psnr_worst_class: figure(Metric::PsnrWorstClass),
            ssim_mean: figure(Metric::SsimMean)?,
            psnr_on_inverted: on_inverted,
            extended: [Metric::PsnrMean, Metric::PsnrP95, Metric::SsimMean].map(extended),
            converged: row(Metric::AttackConverged).map(|row| row.value > 0.5),
            remark: None,
            seconds: mean.seconds,
            gallery: estimate.gallery,
        })
    }

    /// An ensemble's figures, extended by the most that longer training adds to one of its members, for each figure.
    fn as_its_members(&self, members: &[Self]) -> [Option<f64>; 3] {
        let values = |of: &Self| [of.psnr_mean.value, of.psnr_p95.value, of.ssim_mean.value];
        let gain = |figure: usize| {
            let gains = members.iter().filter_map(|member| Some(member.extended[figure]? - values(member)[figure]));
            gains.max_by(f64::total_cmp)
        };
        let extended = |figure: usize| gain(figure).map(|gain| values(self)[figure] + gain.max(0.0));
        [extended(0), extended(1), extended(2).map(|ssim| ssim.min(1.0))]
    }

    /// Whether it came to its end, in words.
    pub fn end(&self) -> &'static str {
        match (self.converged, self.attack) {
            (Some(true), _) => "yes",
            (Some(false), _) => "NO",
            (None, Attack::Linear | Attack::Kernel) => "closed form",
            (None, Attack::Ensemble) => "as these",
            (None, _) => "fixed length",
        }
    }

    /// The figure for a metric that may be bounded, with what longer training would add. A mean over some of the images only is
    /// that of the best finding of `all` over all of them, and the difference on the same ones.
    pub fn reached(&self, metric: Metric, all: &[Self]) -> Option<f64> {
        let paired = |other: &&Self| other.psnr_on_inverted.is_some() && other.images > self.images;
        let whole = all.iter().filter(paired).max_by(|a, b| a.psnr_mean.value.total_cmp(&b.psnr_mean.value));
        // What all images have beyond those that were inverted.
        let beyond = whole.filter(|_| self.attack == Attack::Inversion && metric == Metric::PsnrMean);
        let beyond = beyond.and_then(|whole| Some(whole.psnr_mean.value - whole.psnr_on_inverted?)).unwrap_or(0.0);
        let (value, extended) = match metric {
            Metric::PsnrMean => (self.psnr_mean.value, self.extended[0]),
            Metric::PsnrP95 => (self.psnr_p95.value, self.extended[1]),
            Metric::SsimMean => (self.ssim_mean.value, self.extended[2]),
            _ => return None,
        };
        Some(extended.map_or(value, |extended| extended.max(value)) + beyond)
    }
}

/// Runs `attacks` on `design`, with no more pairs than `attacker` holds; `seed` is that of initial weights and batches.
///
/// # Errors
/// [`EstimateError`], also where `watch` interrupts.
pub fn run(
    laboratory: &Laboratory,
    design: &Design,
    attacks: &[Attack],
    attacker: Attacker,
    effort: &Effort,
    seed: u64,
    watch: &dyn Watch,
) -> Result<Vec<Finding>, EstimateError> {
    let fidelity = Fidelity::QuickVerification;
    let training_images = attacker.limit();
    let base = Protocol { training_images, ..Protocol::small_decoder() };
    let request = |protocol| Request { design, fidelity, protocol, seed, attempt: 0, verifying: None, guess: None };
    let deep = Protocol { decoder: effort.decoder, attack: effort.training, ..base };
    let inverted = effort.inverted.min(laboratory.parts().evaluation.len());
    let mut findings = Vec::new();
    // What the ensemble sums up.
    let mut members: Vec<Reconstructions> = Vec::new();
    // What serves validation images best, and how well: from there the inversion starts.
    let mut best: Option<(f64, Reconstructions)> = None;
    for &attack in attacks {
        let mut remark = None;
        let mut estimate = match attack {
            Attack::Linear => LinearAttack::new(laboratory).estimate(&request(base), watch)?,
            Attack::Kernel => KernelAttack::new(laboratory).estimate(&request(base), watch)?,
            Attack::ReferenceDecoder => DecoderAttack::new(laboratory).estimate(&request(base), watch)?,
            Attack::StrongDecoder => DecoderAttack::new(laboratory).estimate(&request(deep), watch)?,
            Attack::PerceptualDecoder => {
                let protocol = Protocol { refinement: ImageLoss::Perceptual, ..deep };
                DecoderAttack::new(laboratory).estimate(&request(protocol), watch)?
            }
            Attack::Ensemble => {
                let members = std::mem::take(&mut members);
                let members = members.iter().chain(best.as_ref().map(|(_, images)| images));
                EnsembleAttack::new(laboratory, members).estimate(&request(deep), watch)?
            }
            Attack::Inversion => {
                let protocol = Protocol { scored_images: Some(inverted), ..base };
                let start = best.take().map(|(_, images)| images);
                InversionAttack::new(laboratory, effort.descent, start.as_ref()).estimate(&request(protocol), watch)?
            }
            Attack::SecretChannels => {
                let Some(guess) = laboratory.guess_channels(design)? else {
                    continue;
                };
                remark = Some(identified(laboratory, design, &guess));
                // Whoever guessed right has what the reference decoder has.
                let known = findings.iter().find(|finding: &&Finding| finding.attack == Attack::ReferenceDecoder);
                if let Some(known) = known.filter(|_| guess == design.channels) {
                    findings.push(Finding { attack, remark, gallery: None, ..known.clone() });
                    continue;
                }
                DecoderAttack::new(laboratory).estimate(&Request { guess: Some(&guess), ..request(base) }, watch)?
            }
            Attack::Shadow => ShadowAttack::new(laboratory).estimate(&request(base), watch)?,
        };
        let images = estimate.reconstructions.take();
        let on_inverted = images.as_ref().and_then(|images| mean_psnr_of(laboratory, &images.scored, inverted));
        members.append(&mut estimate.snapshots);
        let Some(finding) = Finding::new(attack, estimate, on_inverted) else {
            continue;
        };
        let extended = if attack == Attack::Ensemble { finding.as_its_members(&findings) } else { finding.extended };
        let finding = Finding { remark, extended, ..finding };
        if let Some(images) = images.filter(|_| attack == Attack::Ensemble || attack.is_member()) {
            let mean = validation_psnr(laboratory, &images).unwrap_or(f64::NEG_INFINITY);
            let beaten = match &best {
                Some((most, _)) if *most >= mean => Some(images),
                _ => best.replace((mean, images)).map(|(_, images)| images),
            };
            members.extend(beaten);
        }
        findings.push(finding);
    }
    Ok(findings)
}

/// How many of a design's channels were guessed, of how many sets.
fn identified(laboratory: &Laboratory, design: &Design, guess: &ChannelChoice) -> String {
    let layer = laboratory.backbone().layer(&design.split);
    let bits = layer.map_or(0.0, |layer| secrecy_bits(layer.out_channels, design.channels.depth()));
    format!(
        "the channels are one of 2^{bits:.1} sets, but from statistics of the features alone {} of {} were found out",
        found_out(&design.channels, guess),
        design.channels.depth()
    )
}

/// What is to be said where an audit of claims left attacks out that the claims' attacker can mount.
pub fn left_out(findings: &[Finding], attacker: Attacker, design: &Design) -> Option<String> {
    // The channels of a mix are no secret that there were to be found out: it follows from public images.
    let is_set = design.channels.channels().is_some();
    let can = |attack: &Attack| attack.is_within(attacker) && (is_set || *attack != Attack::SecretChannels);
    let possible: Vec<Attack> = Attack::ALL.into_iter().filter(can).collect();
    let ran = |attack: &Attack| findings.iter().any(|finding| finding.attack == *attack);
    let missing: Vec<&str> = possible.iter().filter(|attack| !ran(attack)).map(|attack| attack.title()).collect();
    (!missing.is_empty()).then(|| {
        format!(
            "{} of the {} attacks that the claims are about did not run ({}): this audit does not uphold them; one without `--attacks` runs all",
            missing.len(),
            possible.len(),
            missing.join("; ")
        )
    })
}

/// What the findings of attacks within `attacker`'s means say against the claims, in words.
pub fn objections(findings: &[Finding], claims: &[Claim], attacker: Attacker) -> Vec<String> {
    let mut objections = Vec::new();
    for claim in claims {
        for finding in findings.iter().filter(|finding| finding.attack.is_within(attacker)) {
            let Some(reached) = finding.reached(claim.metric, findings) else {
                continue;
            };
            let name = finding.attack.title();
            let text = |value| claim.metric.text(value);
            if let Some(limit) = claim.limit.filter(|&limit| reached > limit) {
                let (reached, limit) = (text(reached), text(limit));
                objections.push(format!("{name}: {} reaches {reached}, beyond the limit of {limit}", claim.metric));
            } else if let Some(upper) = claim.upper.filter(|&upper| reached > upper) {
                let (reached, upper) = (text(reached), text(upper));
                objections.push(format!(
                    "{name}: {} reaches {reached}, within the limit but beyond the {upper} that was claimed",
                    claim.metric
                ));
            }
        }
    }
    let linear = findings.iter().find(|finding| finding.attack == Attack::Linear);
    for finding in findings {
        if let Some(linear) = linear
            && finding.psnr_mean.value < linear.psnr_mean.value - linear.psnr_mean.std_error
            && finding.attack == Attack::StrongDecoder
        {
            objections
                .push(format!("{}: it loses to the linear map, so it was not trained enough", finding.attack.title()));
        }
        if finding.converged == Some(false) && finding.attack.is_within(attacker) {
            objections.push(format!(
                "{}: where its learning curve leads can't be told; its figures are lower bounds",
                finding.attack.title()
            ));
        }
    }
    objections
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::space::Mix;

    fn finding(attack: Attack, mean: f64, extended: Option<f64>) -> Finding {
        let figure = |value| Figure { value, std_error: 0.1 };
        Finding {
            attack,
            images: 100,
            psnr_mean: figure(mean),
            psnr_p95: figure(mean + 4.0),
            psnr_max: mean + 8.0,
            psnr_pooled: mean - 0.5,
            psnr_worst_class: None,
            ssim_mean: figure(0.5),
            psnr_on_inverted: None,
            extended: [extended, None, None],
            converged: Some(true),
            remark: None,
            seconds: 1.0,
            gallery: None,
        }
    }

    #[test]
    fn an_ensemble_is_extended_by_the_most_that_a_member_gains() {
        let members = [
            finding(Attack::Kernel, 16.0, None),
            finding(Attack::StrongDecoder, 15.0, Some(15.25)),
            finding(Attack::PerceptualDecoder, 14.0, Some(14.5)),
        ];
        let mut ensemble = finding(Attack::Ensemble, 17.0, None);
        assert_eq!(ensemble.as_its_members(&members), [Some(17.5), None, None]);
        assert_eq!(ensemble.as_its_members(&members[..1]), [None; 3], "nothing is known of longer training");
        ensemble.extended = ensemble.as_its_members(&members);
        assert_eq!(ensemble.reached(Metric::PsnrMean, &members), Some(17.5));
    }

    fn claim(upper: f64, limit: f64) -> Claim {
        let (metric, upper, limit) = (Metric::PsnrMean, Some(upper), Some(limit));
        Claim { metric, value: upper.unwrap_or(0.0) - 1.0, std_error: 0.1, extended: None, upper, limit }
    }

    #[test]
    fn what_exceeds_a_claim_or_a_limit_is_said() {
        let found = |mean, extended| {
            objections(&[finding(Attack::StrongDecoder, mean, extended)], &[claim(21.0, 22.0)], Attacker::default())
        };
        assert!(found(20.5, Some(20.9)).is_empty());
        assert!(found(20.5, Some(21.5))[0].contains("beyond the 21.0"), "{:?}", found(20.5, Some(21.5)));
        assert!(found(22.5, None)[0].contains("beyond the limit of 22.0"));
    }

    #[test]
    fn an_inversion_of_some_images_is_judged_beside_the_decoder_on_the_same() {
        // The inverted ones are 0.6 dB easier than all.
        let decoder =
            Finding { images: 1000, psnr_on_inverted: Some(20.6), ..finding(Attack::StrongDecoder, 20.0, None) };
        let inversion = Finding { psnr_on_inverted: Some(21.4), ..finding(Attack::Inversion, 21.4, Some(21.5)) };
        let all = [decoder, inversion];
        assert!((all[1].reached(Metric::PsnrMean, &all).unwrap() - 20.9).abs() < 1e-9);
        assert_eq!(all[0].reached(Metric::PsnrMean, &all), Some(20.0));
        assert!(objections(&all, &[claim(21.0, 22.0)], Attacker::default()).is_empty());
    }

    #[test]
    fn an_audit_spends_no_less_than_the_verification_did() {
        let quick = Effort::quick();
        assert_eq!(quick.at_least(Fidelity::QuickVerification), quick);
        let standard = quick.at_least(Fidelity::StandardVerification);
        assert_eq!(standard.decoder, Protocol::of(Fidelity::StandardVerification).decoder);
        assert!(standard.training.epochs == 5 && standard.inverted == 100);
        assert_eq!(Effort::full().at_least(Fidelity::StandardVerification).decoder, Effort::full().decoder);
    }

    #[test]
    fn attacks_that_did_not_end_or_lose_to_a_linear_map_are_said() {
        let linear = finding(Attack::Linear, 20.0, None);
        let lost = finding(Attack::StrongDecoder, 19.0, None);
        let open = Finding { converged: Some(false), ..finding(Attack::Inversion, 18.0, None) };
        let found = objections(&[linear, lost, open], &[], Attacker::default());
        assert_eq!(found.len(), 2);
        assert!(found[0].contains("loses to the linear map") && found[1].contains("lower bounds"));
        let inversion = [Finding { converged: Some(false), ..finding(Attack::Inversion, 18.0, None) }];
        let blind = Attacker { knows_local_net: false, ..Attacker::default() };
        assert!(objections(&inversion, &[], blind).is_empty());
    }

    #[test]
    fn a_mix_is_audited_whole_without_a_search_for_its_channels() {
        let ran = |attacks: &[Attack]| attacks.iter().map(|&attack| finding(attack, 18.0, None)).collect::<Vec<_>>();
        let (all, apart) = (ran(&Attack::ALL), Attack::ALL.map(|attack| attack != Attack::SecretChannels));
        let others: Vec<Finding> = all.iter().zip(apart).filter(|(_, apart)| *apart).map(|(f, _)| f.clone()).collect();
        let mix = Mix::new(vec![0.5, 0.5], vec![0.0], false).unwrap();
        let mix = Design { split: "conv3_1".to_owned(), channels: ChannelChoice::Mix(mix) };
        let set = Design { split: "conv3_1".to_owned(), channels: ChannelChoice::Set(vec![1]) };
        let missing = |findings: &[Finding], design: &Design| left_out(findings, Attacker::default(), design);
        assert_eq!([missing(&all, &set), missing(&others, &mix)], [None, None]);
        assert!(missing(&others, &set).unwrap().contains("channels to be found out"));
        assert!(missing(&others[1..], &mix).unwrap().contains("1 of the 8 attacks"));
    }

    #[test]
    fn what_an_attacker_cannot_mount_is_no_objection() {
        let found = [finding(Attack::Inversion, 30.0, None)];
        let blind = Attacker { knows_local_net: false, ..Attacker::default() };
        assert_eq!(objections(&found, &[claim(21.0, 22.0)], Attacker::default()).len(), 1);
        assert!(objections(&found, &[claim(21.0, 22.0)], blind).is_empty());
        // Who must find out the channels has no pairs of the true ones.
        let guessing = Attacker { pairs: Some(0), knows_channels: false, ..Attacker::default() };
        let mountable = |attacker| Attack::ALL.into_iter().filter(|attack| attack.is_within(attacker)).count();
        assert_eq!([Attacker::default(), blind, guessing].map(mountable), [9, 7, 2]);
    }
}
