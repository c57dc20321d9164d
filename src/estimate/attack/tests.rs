//! The attacks end to end on a tiny layer: do they recover what is there to be recovered?

use std::ops::ControlFlow;
use std::sync::atomic::AtomicBool;

use super::*;
use crate::config::Attacker;
use crate::data::{ImageSet, Part, Parts, Region};
use crate::estimate::{CloudAccuracy, Estimate, Estimator, Laboratory, Reconstructions, Request, Verifying, Watch};
use crate::features::{FeatureCache, LayerFeatures, Standardisation};
use crate::measurement::{Fidelity, Metric};
use crate::nn::Device;
use crate::protocol::{Descent, ImageLoss, Inversion, Protocol, ScoredPart, Training};
use crate::space::{ChannelChoice, Design, Mix};

const SIDE: usize = 16;

/// Images that two sets of evaluation images share.
const SHARED: usize = 10;

struct Silent;

impl Watch for Silent {
    fn progress(&self, _: &str, _: f64) -> ControlFlow<()> {
        ControlFlow::Continue(())
    }
}

/// Coloured waves; two classes that differ in their wavelength.
fn images(part: Part, n: usize, phase: f32) -> ImageSet {
    images_of(part, n, |_| phase)
}

/// Each image with a phase of its own.
fn images_of(part: Part, n: usize, phase: impl Fn(usize) -> f32) -> ImageSet {
    let pixel = |i: usize| {
        let (image, y, x, c) = (i / (3 * SIDE * SIDE), i / (3 * SIDE) % SIDE, i / 3 % SIDE, i % 3);
        let slope = 0.2 + 0.3 * (image % 2) as f32 + 0.02 * (image % 13) as f32;
        let wave = (image as f32 * 1.3 + phase(image) + slope * y as f32 + (0.2 + 0.1 * c as f32) * x as f32).sin();
        (127.0 + 100.0 * wave) as u8
    };
    let labels = (0..n).map(|i| (i % 2) as u16).collect();
    ImageSet::new(part, SIDE, Region::full(SIDE), (0..n * SIDE * SIDE * 3).map(pixel).collect(), labels).unwrap()
}

/// A channel of the layer that is zero on all images.
const DEAD: u16 = 63;

/// On VGG-16's first layer with made-up weights; its features are in `folder`.
fn laboratory(folder: &std::path::Path) -> Laboratory {
    laboratory_on(folder, images(Part::Evaluation, 24, 0.9))
}

fn laboratory_on(folder: &std::path::Path, evaluation: ImageSet) -> Laboratory {
    let value = |i: usize| 0.04 * ((i * i * 7 + i * 13) % 1009) as f32 / 1009.0 - 0.02;
    let backbone = crate::backbone::vgg16_with(1, |_, at, bias| match bias {
        false => value(at),
        true if at == usize::from(DEAD) => -1e4,
        true => (at as f32).sin(),
    });
    let parts = Parts::new(
        images(Part::Training, 80, 0.0),
        images(Part::Validation, 20, 0.4),
        evaluation,
        vec!["a".to_owned(), "b".to_owned()],
    );
    let laboratory = Laboratory::new(parts, backbone, FeatureCache::new(folder), Device::Cpu);
    laboratory.prepare(&["conv1_1"], &AtomicBool::new(false), &mut |_| {}).unwrap();
    laboratory
}

fn design(channels: &[u16]) -> Design {
    Design { split: "conv1_1".to_owned(), channels: ChannelChoice::Set(channels.to_vec()) }
}

fn protocol() -> Protocol {
    let training = Training { epochs: 3, doublings: 0, batch: 16, peak_rate: 4e-3, validated: true };
    Protocol { attack: training, task: training, ..Protocol::small_decoder() }
}

fn request(design: &Design) -> Request<'_> {
    let fidelity = Fidelity::QuickVerification;
    Request { design, fidelity, protocol: protocol(), seed: 1, attempt: 0, verifying: None, guess: None }
}

fn mean(estimate: &Estimate, metric: Metric) -> f64 {
    estimate.measurements.iter().find(|row| row.metric == metric).unwrap().value
}

#[test]
fn inversion_recovers_images_from_many_features_without_a_decoder() {
    let folder = tempfile::tempdir().unwrap();
    let laboratory = laboratory(folder.path());
    let all = design(&(0..64).collect::<Vec<u16>>());
    let attack = InversionAttack::new(&laboratory, Descent::tried(100, 1), None);
    let found = attack.estimate(&request(&all), &Silent).unwrap();
    let psnr = mean(&found, Metric::PsnrMean);
    assert!(psnr > laboratory.floors().unwrap().best_constant + 15.0, "{psnr}");
}

#[test]
fn mixes_are_verified_on_what_the_device_uploads() {
    let folder = tempfile::tempdir().unwrap();
    let laboratory = laboratory(folder.path());
    // Without the dead channel, before whose ReLU is a number that drowns all others.
    let weight = |i: usize| if i % 64 == usize::from(DEAD) { 0.0 } else { (i as f32 * 1.7).sin() };
    let mix = ChannelChoice::Mix(Mix::new((0..2 * 64).map(weight).collect(), vec![0.1, -0.2], false).unwrap());
    let design = Design { split: "conv1_1".to_owned(), channels: mix };
    let images = &laboratory.parts().evaluation;
    let (backbone, rows) = (laboratory.backbone(), [0, 5, 3]);
    let uploaded = LayerFeatures::of_local_net(backbone, "conv1_1", &design.channels, images, Device::Cpu).unwrap();
    let mut device = Vec::new();
    uploaded.activations(&rows, &mut device).unwrap();

    // What verification attacks, its standardisation undone.
    let protocol = Protocol { scored_part: ScoredPart::Evaluation, ..protocol() };
    let view = laboratory.bench(&Request { protocol, ..request(&design) }).unwrap().scored.view;
    let mut attacked = vec![0.0; device.len()];
    view.fill(&rows, &mut attacked).unwrap();
    let Standardisation { mean, inverse_sd } = view.standardisation();
    for (at, value) in attacked.iter_mut().enumerate() {
        *value = *value / inverse_sd[at % 2] + mean[at % 2];
    }
    let largest = device.iter().fold(0f32, |most, value| most.max(value.abs()));
    assert!(largest > 0.1, "{largest}");
    for (attacked, device) in attacked.iter().zip(&device) {
        // Rounding to half precision would be a hundred times as much.
        assert!((attacked - device).abs() < 5e-6 * largest, "{attacked} {device} {largest}");
    }
}

#[test]
fn an_attack_that_breaks_the_limit_may_end_there() {
    let folder = tempfile::tempdir().unwrap();
    let laboratory = laboratory(folder.path());
    let design = design(&[0, 9, 20, 33]);
    let training = Training { epochs: 6, doublings: 3, ..protocol().attack };
    let attack = |limit: Option<f64>| {
        let verifying = limit.map(|limit| Verifying { settled_above: Some(limit), error_rate: 0.05, ssim: false });
        let protocol = Protocol { attack: training, ..protocol() };
        let request = Request { verifying, protocol, ..request(&design) };
        DecoderAttack::new(&laboratory).estimate(&request, &Silent).unwrap()
    };
    let found = mean(&attack(None), Metric::PsnrMean);
    let stopped = attack(Some(found - 8.0));
    let [converged, stopped] = [Metric::AttackConverged, Metric::PsnrMean].map(|metric| mean(&stopped, metric));
    assert!(converged == 0.0 && found - 8.0 < stopped && stopped < found, "{converged} {stopped} {found}");
}

#[test]
fn features_that_carry_nothing_give_no_attack_anything() {
    let folder = tempfile::tempdir().unwrap();
    let laboratory = laboratory(folder.path());
    let dead = design(&[DEAD]);
    let floors = laboratory.floors().unwrap();
    let nothing = floors.best_constant.max(floors.mean_colour) + 0.5;
    let decoder = DecoderAttack::new(&laboratory).estimate(&request(&dead), &Silent).unwrap();
    let start = decoder.reconstructions.clone();
    let descent = Descent::tried(50, 1);
    let inversion = InversionAttack::new(&laboratory, descent, start.as_ref());
    let linear = LinearAttack::new(&laboratory).estimate(&request(&dead), &Silent).unwrap();
    let kernel = KernelAttack::new(&laboratory).estimate(&request(&dead), &Silent).unwrap();
    let members = [&linear, &kernel, &decoder].into_iter().flat_map(Estimate::all_reconstructions);
    let ensemble = EnsembleAttack::new(&laboratory, members).estimate(&request(&dead), &Silent).unwrap();
    let found = [
        mean(&linear, Metric::LinearPsnrMean),
        mean(&kernel, Metric::KernelPsnrMean),
        mean(&decoder, Metric::PsnrMean),
        mean(&ensemble, Metric::EnsemblePsnrMean),
        mean(&inversion.estimate(&request(&dead), &Silent).unwrap(), Metric::PsnrMean),
    ];
    assert!(found.iter().all(|&psnr| psnr < nothing), "{found:?}, at most {nothing}");
}

#[test]
fn no_training_sees_an_evaluation_image() {
    let design = design(&[1, 5, 9]);
    let with = |evaluation: ImageSet| {
        let folder = tempfile::tempdir().unwrap();
        let laboratory = laboratory_on(folder.path(), evaluation);
        let attacks: [&dyn Estimator; 3] =
            [&LinearAttack::new(&laboratory), &KernelAttack::new(&laboratory), &DecoderAttack::new(&laboratory)];
        let made = |attack: &dyn Estimator, request: &Request<'_>| attack.estimate(request, &Silent).unwrap();
        let mut found = attacks.map(|attack| made(attack, &request(&design)).reconstructions.unwrap()).to_vec();
        let attack = Training { doublings: 1, ..protocol().attack };
        for refinement in [ImageLoss::LogSquaredError, ImageLoss::Perceptual] {
            let request = Request { protocol: Protocol { attack, refinement, ..protocol() }, ..request(&design) };
            found.push(made(attacks[2], &request).reconstructions.unwrap());
        }
        (found, made(&CloudAccuracy::new(&laboratory), &request(&design)).cloud_net.unwrap())
    };
    // What the attackers make of their own validation images depends on nothing of the evaluation part.
    let (some, others) = (with(images(Part::Evaluation, 24, 0.9)), with(images(Part::Evaluation, 16, 2.2)));
    assert_eq!(some.1, others.1, "nor does the cloud net");
    for (some, other) in some.0.iter().zip(&others.0) {
        assert!(!some.validation.is_empty() && some.validation == other.validation);
        assert_ne!(some.scored.len(), other.scored.len());
    }
}

#[test]
fn a_decoder_that_is_stuck_begins_again_at_a_lower_rate() {
    let folder = tempfile::tempdir().unwrap();
    let laboratory = laboratory(folder.path());
    let design = design(&[1, 5, 9, 30]);
    let found = |validated| {
        // A rate at which the first training runs away.
        let attack = Training { peak_rate: 0.1, validated, ..protocol().attack };
        let request = Request { protocol: Protocol { attack, ..protocol() }, ..request(&design) };
        mean(&DecoderAttack::new(&laboratory).estimate(&request, &Silent).unwrap(), Metric::PsnrMean)
    };
    let nothing = laboratory.floors().unwrap().best_constant;
    let (once, again) = (found(false), found(true));
    assert!(once < nothing && again > nothing + 3.0, "{once} {again} {nothing}");
}

#[test]
fn what_is_recovered_of_an_image_depends_on_no_other_evaluation_image() {
    let design = design(&(0..24).collect::<Vec<u16>>());
    let with = |evaluation: ImageSet| {
        let folder = tempfile::tempdir().unwrap();
        let laboratory = laboratory_on(folder.path(), evaluation);
        let decoder = DecoderAttack::new(&laboratory).estimate(&request(&design), &Silent).unwrap();
        let start = decoder.reconstructions.unwrap();
        let descent = Descent::tried(40, 1);
        let inversion = InversionAttack::new(&laboratory, descent, Some(&start));
        let inverted = inversion.estimate(&request(&design), &Silent).unwrap().reconstructions.unwrap();
        [start, inverted].map(|found| found.scored[..SHARED * 3 * SIDE * SIDE].to_vec())
    };
    let some = with(images(Part::Evaluation, 24, 0.9));
    let others = with(images_of(Part::Evaluation, 24, |image| if image < SHARED { 0.9 } else { 2.2 }));
    // The prior and its step, the best cycle and the best start are chosen on the attacker's validation images.
    assert_eq!(some, others);
}

#[test]
fn a_decoder_keeps_what_another_cycle_made_for_the_ensemble() {
    let folder = tempfile::tempdir().unwrap();
    let laboratory = laboratory(folder.path());
    let design = design(&[1, 5, 9, 30]);
    let found = |doublings| {
        let protocol = Protocol { attack: Training { doublings, ..protocol().attack }, ..protocol() };
        DecoderAttack::new(&laboratory).estimate(&Request { protocol, ..request(&design) }, &Silent).unwrap()
    };
    assert!(found(0).snapshots.is_empty());
    let found = found(2);
    let (last, [other]) = (found.reconstructions.unwrap(), &found.snapshots[..]) else { panic!("one is kept") };
    assert!(other.scored.len() == last.scored.len() && other.validation.len() == last.validation.len());
    assert_ne!(other.scored, last.scored);
}

#[test]
fn an_ensemble_loses_to_none_of_its_members_and_is_chosen_on_validation_images_alone() {
    let design = design(&[1, 5, 9, 30]);
    let with = |evaluation: ImageSet| {
        let folder = tempfile::tempdir().unwrap();
        let laboratory = laboratory_on(folder.path(), evaluation);
        let members: [&dyn Estimator; 3] =
            [&LinearAttack::new(&laboratory), &KernelAttack::new(&laboratory), &DecoderAttack::new(&laboratory)];
        let found = members.map(|attack| attack.estimate(&request(&design), &Silent).unwrap().reconstructions.unwrap());
        let ensemble = EnsembleAttack::new(&laboratory, &found).estimate(&request(&design), &Silent).unwrap();
        let sum = ensemble.reconstructions.unwrap();
        let truth: Vec<f32> =
            laboratory.parts().validation.pixels().iter().map(|&byte| f32::from(byte) / 255.0).collect();
        let validation = |of: &Reconstructions| mean_psnr(&of.validation, &truth, &laboratory).unwrap();
        let best = found.iter().map(validation).fold(f64::NEG_INFINITY, f64::max);
        assert!(validation(&sum) >= best - 1e-6, "{} {best}", validation(&sum));
        assert!(ensemble.measurements.iter().any(|row| row.metric == Metric::EnsemblePsnrMean && row.n == 24));
        let alone = EnsembleAttack::new(&laboratory, &found[..1]).estimate(&request(&design), &Silent).unwrap();
        assert!(alone.measurements.is_empty(), "one attack is no ensemble");
        sum.scored[..SHARED * 3 * SIDE * SIDE].to_vec()
    };
    let some = with(images(Part::Evaluation, 24, 0.9));
    let others = with(images_of(Part::Evaluation, 24, |image| if image < SHARED { 0.9 } else { 2.2 }));
    assert_eq!(some, others);
}

#[test]
fn a_search_that_scores_some_validation_images_raises_its_figures_to_the_ensembles() {
    let folder = tempfile::tempdir().unwrap();
    let laboratory = laboratory(folder.path());
    let design = design(&[1, 5, 9, 30]);
    let attack = Training { validated: false, ..protocol().attack };
    let protocol = Protocol {
        attack,
        scored_part: ScoredPart::Validation,
        scored_images: Some(12),
        inversion: None,
        ..protocol()
    };
    let request = Request { protocol, fidelity: Fidelity::Quick, ..request(&design) };
    let found = AttackLadder::new(&laboratory, Attacker::default()).estimate(&request, &Silent).unwrap();
    let kernel = mean(&found, Metric::KernelPsnrMean);
    let [ensemble, raised] = [Metric::EnsemblePsnrMean, Metric::PsnrMean].map(|metric| mean(&found, metric));
    assert!(ensemble >= kernel && raised == ensemble, "{raised} {ensemble} {kernel}");
    let row = found.measurements.iter().find(|row| row.metric == Metric::EnsemblePsnrMean).unwrap();
    assert_eq!(row.n, 12);
}

#[test]
fn verification_inverts_where_the_attacker_knows_the_net_and_nowhere_else() {
    let folder = tempfile::tempdir().unwrap();
    let laboratory = laboratory(folder.path());
    let design = design(&[1, 5, 9, 30]);
    let attack = Training { epochs: 10, doublings: 4, ..protocol().attack };
    let inversion = Some(Inversion { images: 8, descent: Descent::tried(20, 1) });
    let request = Request { protocol: Protocol { attack, inversion, ..protocol() }, ..request(&design) };
    let gain = |attacker: Attacker| {
        let found = AttackLadder::new(&laboratory, attacker).estimate(&request, &Silent).unwrap().measurements;
        let of = |metric| found.iter().find(|row| row.metric == metric).cloned();
        (of(Metric::InversionGainMean), of(Metric::PsnrMean).unwrap())
    };
    let (known, decoder) = gain(Attacker::default());
    assert_eq!(known.map(|row| row.n), Some(8));
    let (unknown, alone) = gain(Attacker { knows_local_net: false, ..Attacker::default() });
    assert!(unknown.is_none());
    assert_eq!(decoder.value, alone.value, "the decoder is the same");
}

#[test]
fn more_pairs_make_the_kernel_attack_stronger_and_any_beat_the_mean_image() {
    let folder = tempfile::tempdir().unwrap();
    let laboratory = laboratory(folder.path());
    let design = design(&[1, 5, 9, 30]);
    let with = |pairs| {
        let protocol = Protocol { training_images: Some(pairs), ..protocol() };
        let request = Request { protocol, ..request(&design) };
        mean(&KernelAttack::new(&laboratory).estimate(&request, &Silent).unwrap(), Metric::KernelPsnrMean)
    };
    let (few, many) = (with(16), with(80));
    assert!(few > laboratory.floors().unwrap().best_constant && many > few + 1.0, "{few} {many}");
}

#[test]
fn a_secret_channel_set_is_found_out_and_a_wrong_one_misleads() {
    let folder = tempfile::tempdir().unwrap();
    let laboratory = laboratory(folder.path());
    let design = design(&[2, 17, 33, 60]);
    assert_eq!(laboratory.guess_channels(&design).unwrap().as_ref(), Some(&design.channels));
    let with = |guess: Option<&ChannelChoice>| {
        let request = Request { guess, ..request(&design) };
        mean(&KernelAttack::new(&laboratory).estimate(&request, &Silent).unwrap(), Metric::KernelPsnrMean)
    };
    let wrong = ChannelChoice::Set(vec![60, 33, 17, 2]);
    assert_eq!(with(Some(&design.channels)), with(None));
    assert!(with(Some(&wrong)) < with(None) - 2.0, "{} {}", with(Some(&wrong)), with(None));
}

#[test]
fn without_pairs_a_shadow_recovers_less_than_a_decoder_with_pairs() {
    let folder = tempfile::tempdir().unwrap();
    let laboratory = laboratory(folder.path());
    let design = design(&(0..16).collect::<Vec<u16>>());
    let decoder = DecoderAttack::new(&laboratory).estimate(&request(&design), &Silent).unwrap();
    let shadow = ShadowAttack::new(&laboratory).estimate(&request(&design), &Silent).unwrap();
    let [decoder, shadow] = [decoder, shadow].map(|found| mean(&found, Metric::PsnrMean));
    assert!(shadow.is_finite() && shadow < decoder, "{shadow} {decoder}");
}
