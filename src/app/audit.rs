//! `privynet audit`: every attack on one design, and a page for whoever must sign off on it.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::measure;
use super::output::emit;
use super::progress::Progress;
use super::read_study;
use super::report_view::pair;
use super::setup::{self, Assets};
use super::{AppError, Output, exit, interrupt};
use crate::audit::{self, Attack, Effort, Finding};
use crate::cli::{AttackArg, AuditArgs};
use crate::config::Attacker;
use crate::estimate::{Laboratory, Watch, sanity};
use crate::export::{self, Claim};
use crate::features::FeatureCache;
use crate::measurement::{Fidelity, Metric};
use crate::report::view::GallerySection;
use crate::report::{self, AuditView};
use crate::space::Design;

/// What is audited.
struct Subject {
    /// The study's or package's name, where it comes from one.
    name: Option<String>,
    design: Design,
    selection: String,
    claims: Vec<Claim>,
    /// Whom the claims are about.
    attacker: Attacker,
    /// What the claims were verified with.
    verification: Option<Fidelity>,
}

/// Subjects that need no look at images to be known, and what they were measured with.
struct Known {
    subject: Subject,
    space: Option<PathBuf>,
    weights: Option<PathBuf>,
    /// Hash of the weights that it was measured with.
    weights_hash: WeightsHash,
    /// Hash of the images that it was measured on.
    data_hash: String,
}

/// Which weights were hashed.
enum WeightsHash {
    /// Those through the split layer.
    Through(String),
    /// Those through the deepest layer of the study's space.
    Whole(String),
}

pub(super) fn run(args: &AuditArgs, output: Output) -> Result<u8, AppError> {
    interrupt::install();
    let device = setup::machine(&args.machine)?;
    let known = args.subject.as_deref().map(|subject| known(subject, args)).transpose()?;
    let space = args.space.clone().or_else(|| known.as_ref()?.space.clone());
    let space = space.ok_or_else(|| AppError::Flag {
        flag: "space",
        value: "none".to_owned(),
        problem: "a package doesn't say which images to attack: give the space that has them".to_owned(),
    })?;
    let mut from = args.assets.clone();
    from.weights = from.weights.or_else(|| known.as_ref()?.weights.clone());
    let split = match (&known, &args.split) {
        (Some(known), _) => known.subject.design.split.clone(),
        (None, Some(split)) => split.clone(),
        (None, None) => unreachable!("clap demands a subject or a split"),
    };
    let assets = setup::assets(&space, &from, Some(&split), output)?;
    let layer = *assets.space.architecture().layer(&split)?;
    let same = match known.as_ref().map(|known| &known.weights_hash) {
        Some(WeightsHash::Through(hash)) => assets.backbone.hash_through(&layer).to_hex().as_str() == hash,
        // Another space may reach deeper.
        Some(WeightsHash::Whole(hash)) => args.space.is_some() || assets.backbone.hash().to_hex().as_str() == hash,
        None => true,
    };
    if !same {
        return Err(AppError::Flag {
            flag: "weights",
            value: assets.file.backbone.weights.display().to_string(),
            problem: format!("these are not the weights, or not at the precision, that {split} was measured with"),
        });
    }
    measure::check_channels(&split, layer.out_channels, &[], &args.depth)?;
    let progress = Progress::new(output.progress());
    let cache = FeatureCache::new(args.folders.results.join("features"));
    let Assets { space, parts, backbone, .. } = assets;
    let laboratory = Laboratory::new(parts, backbone, cache, device);
    progress.stage(&format!("features of {split}"));
    laboratory.prepare(&[&split], interrupt::flag(), &mut |done| {
        progress.fraction("features of the local net", done);
    })?;
    let mut remarks = Vec::new();
    if known.as_ref().is_some_and(|known| known.data_hash != laboratory.parts().hash) {
        remarks.push(
            "These are other images than those that the claims were measured on: a difference may be theirs."
                .to_owned(),
        );
    }
    let floors = laboratory.floors()?;
    let unsound = sanity(&laboratory, &floors)?;
    let subjects = match known {
        Some(known) => vec![known.subject],
        None => measure::chosen(&split, &args.depth, &args.selection, &laboratory)?
            .into_iter()
            .map(|(design, selection)| Subject {
                name: None,
                design,
                selection,
                claims: Vec::new(),
                attacker: Attacker::default(),
                verification: None,
            })
            .collect(),
    };
    let effort = if args.full { Effort::full() } else { Effort::quick() };
    let attacks = attacks(&args.attacks);
    let mut code = exit::DONE;
    for mut subject in subjects {
        let effort = subject.verification.map_or(effort, |verification| effort.at_least(verification));
        let effort = effort.scaled(usize::from(args.scale));
        let mut remarks = remarks.clone();
        // Whoever finds out the channels makes his own pairs, and inverts.
        if !subject.attacker.knows_channels
            && laboratory.guess_channels(&subject.design)?.as_ref() == Some(&subject.design.channels)
        {
            subject.attacker.knows_channels = true;
            remarks.push(
                "The channels were to be a secret; the attacker found out all of them, so that he counts as one who \
                          knows them."
                    .to_owned(),
            );
        }
        let watch = Watcher { progress: &progress, design: subject.design.id().to_string() };
        let findings =
            audit::run(&laboratory, &subject.design, &attacks, subject.attacker, &effort, args.seed, &watch)?;
        let mut objections = audit::objections(&findings, &subject.claims, subject.attacker);
        let beyond = findings.iter().filter(|finding| !finding.attack.is_within(subject.attacker));
        let beyond = beyond.map(|finding| {
            format!("The claims are about an attacker who can't mount this attack: {}.", finding.attack.title())
        });
        let remarks = remarks.into_iter().chain(beyond).collect();
        if !subject.claims.is_empty() {
            objections.extend(audit::left_out(&findings, subject.attacker));
        }
        objections.extend(unsound.clone());
        let id = subject.design.id();
        let gallery = findings.iter().filter_map(pictures).collect();
        let findings = findings.into_iter().map(|finding| Finding { gallery: None, ..finding }).collect();
        let view = AuditView {
            name: subject.name.clone().unwrap_or_else(|| id.to_string()),
            id: id.to_string(),
            split: subject.design.split.clone(),
            depth: subject.design.channels.depth(),
            selection: subject.selection,
            cost: space.cost(&split, subject.design.channels.depth())?.into(),
            images: [&laboratory.parts().training, &laboratory.parts().validation, &laboratory.parts().evaluation]
                .map(|set| set.len()),
            effort: effort.to_string(),
            seed: args.seed,
            device: device.to_string(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            command: command(),
            floors,
            findings,
            claims: subject.claims,
            objections,
            remarks,
            gallery,
        };
        let folder = args.folders.reports.join(format!("{}-audit", view.name));
        let page = report::write_audit(&view, &folder)?;
        progress.finish();
        if !view.objections.is_empty() {
            code = exit::UNVERIFIED;
        }
        match output.json {
            true => emit("audit", object(&view, &page)),
            false => print(&view, &page),
        }
    }
    Ok(code)
}

/// The page's contents but for its pictures; `version` is that of the line.
fn object(view: &AuditView, page: &Path) -> Value {
    let mut value = json!(view);
    if let Some(map) = value.as_object_mut() {
        map.insert("program".to_owned(), json!(format!("privynet {}", view.version)));
        map.insert("report".to_owned(), json!(page));
    }
    value
}

fn command() -> String {
    let words: Vec<String> = std::env::args().skip(1).collect();
    format!("privynet {}", words.join(" "))
}

fn attacks(wanted: &[AttackArg]) -> Vec<Attack> {
    /// What an ensemble is of where it is told of fewer than two.
    const MEMBERS: [Attack; 3] = [Attack::Linear, Attack::Kernel, Attack::StrongDecoder];
    let of = |arg| match arg {
        AttackArg::Linear => Attack::Linear,
        AttackArg::Kernel => Attack::Kernel,
        AttackArg::Reference => Attack::ReferenceDecoder,
        AttackArg::Strong => Attack::StrongDecoder,
        AttackArg::Perceptual => Attack::PerceptualDecoder,
        AttackArg::Ensemble => Attack::Ensemble,
        AttackArg::Inversion => Attack::Inversion,
        AttackArg::SecretChannels => Attack::SecretChannels,
        AttackArg::Shadow => Attack::Shadow,
    };
    let wanted: Vec<Attack> = wanted.iter().copied().map(of).collect();
    // An ensemble is one of several.
    let few = wanted.contains(&Attack::Ensemble)
        && Attack::ALL.iter().filter(|attack| attack.is_member() && wanted.contains(attack)).count() < 2;
    let runs = |attack: &Attack| wanted.is_empty() || wanted.contains(attack) || few && MEMBERS.contains(attack);
    // Always in this order: the inversion starts from what the others found.
    Attack::ALL.into_iter().filter(runs).collect()
}

/// A package's or a study's design.
fn known(subject: &Path, args: &AuditArgs) -> Result<Known, AppError> {
    if subject.join(export::MANIFEST_FILE).is_file() {
        let package = export::Package::open(subject)?;
        let manifest = package.manifest();
        let subject = Subject {
            name: Some(manifest.study.clone()),
            design: manifest.design.clone(),
            selection: manifest.selection.clone(),
            claims: manifest.claims.clone(),
            attacker: manifest.attacker,
            verification: manifest.protocol.as_ref().and_then(|protocol| protocol.parse().ok()),
        };
        let weights_hash = WeightsHash::Through(manifest.weights_hash.clone());
        let data_hash = manifest.data_hash.clone();
        return Ok(Known { subject, space: None, weights: None, weights_hash, data_hash });
    }
    let dir = read_study::folder(subject, &args.folders)?;
    let (_, record) = read_study::open(&dir)?;
    let chosen = record.chosen_design().ok_or_else(|| AppError::Study {
        path: dir.clone(),
        problem: "has no chosen design to audit: its budget can't be met, loosen it".to_owned(),
    })?;
    Ok(Known {
        subject: Subject {
            name: Some(record.study.clone()),
            design: chosen.design.clone(),
            selection: chosen.selection.clone(),
            claims: record.chosen_verdict().map(export::claims).unwrap_or_default(),
            attacker: record.budgets.attacker,
            verification: record.chosen_verdict().map(|verdict| verdict.fidelity),
        },
        space: Some(record.provenance.space_file.clone().into()),
        weights: Some(record.provenance.weights_file.clone().into()),
        weights_hash: WeightsHash::Whole(record.provenance.weights_hash.clone()),
        data_hash: record.provenance.data_hash.clone(),
    })
}

/// Shows which attack runs, and ends it on Ctrl-C.
struct Watcher<'a> {
    progress: &'a Progress,
    design: String,
}

impl Watch for Watcher<'_> {
    fn progress(&self, what: &str, done: f64) -> ControlFlow<()> {
        self.progress.fraction(&format!("{what} on {}", self.design), done);
        if interrupt::requested() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }
}

/// An attack's best, median and worst image.
fn pictures(finding: &Finding) -> Option<GallerySection> {
    let gallery = finding.gallery.clone()?;
    Some(GallerySection {
        title: finding.attack.title().to_owned(),
        caption: format!(
            "Of {} evaluation images the one recovered best, the median and the one recovered worst.",
            finding.images
        ),
        pairs: gallery.images.into_iter().filter_map(pair).collect(),
    })
}

fn print(view: &AuditView, page: &Path) {
    println!("{}: {}, {} channels ({})", view.name, view.split, view.depth, view.selection);
    println!(
        "  {:<38} {:>6} {:>14} {:>9} {:>9} {:>9} {:>9} {:>7} {:>9}  ended",
        "attack", "images", "PSNR mean", "extended", "p95", "max", "class", "SSIM", "same imgs"
    );
    for finding in &view.findings {
        let optional = |value: Option<f64>| value.map_or_else(|| "–".to_owned(), |value| format!("{value:.2}"));
        println!(
            "  {:<38} {:>6} {:>6.2} ± {:<5.2} {:>9} {:>9.2} {:>9.2} {:>9} {:>7.3} {:>9}  {}",
            finding.attack.title(),
            finding.images,
            finding.psnr_mean.value,
            finding.psnr_mean.std_error,
            optional(finding.extended[0]),
            finding.psnr_p95.value,
            finding.psnr_max,
            optional(finding.psnr_worst_class.map(|figure| figure.value)),
            finding.ssim_mean.value,
            optional(finding.psnr_on_inverted),
            finding.end()
        );
        if let Some(remark) = &finding.remark {
            println!("    {remark}");
        }
    }
    let floors = &view.floors;
    println!(
        "  without features: {:.1} dB (mean image), {:.1} dB (mean colour), {:.1} dB (8×8 thumbnail)",
        floors.best_constant, floors.mean_colour, floors.thumbnail
    );
    for claim in view.claims.iter().filter(|claim| claim.limit.is_some() && claim.metric != Metric::Accuracy) {
        let text = |value: Option<f64>| value.map_or_else(|| "–".to_owned(), |value| claim.metric.text(value));
        println!("  claimed of {}: at most {}, limit {}", claim.metric, text(claim.upper), text(claim.limit));
    }
    for remark in &view.remarks {
        println!("  note: {remark}");
    }
    for objection in &view.objections {
        println!("  OBJECTION: {objection}");
    }
    println!("  report: {}", page.display());
}
