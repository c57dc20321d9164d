//! `privynet audit`: every attack on one design, and a page for whoever must sign off on it.

mod subject;
mod telling;

use std::ops::ControlFlow;

use self::subject::{Known, Subject};
use super::measure;
use super::output::emit;
use super::progress::Progress;
use super::report_view::pair;
use super::setup::{self, Assets};
use super::{AppError, Output, exit, interrupt};
use crate::audit::{self, Attack, Effort, Finding};
use crate::cli::{AttackArg, AuditArgs};
use crate::config::Attacker;
use crate::estimate::{Floors, Laboratory, Watch, sanity};
use crate::features::FeatureCache;
use crate::nn::Device;
use crate::report::view::GallerySection;
use crate::report::{self, AuditView};
use crate::space::Space;

pub(super) fn run(args: &AuditArgs, output: Output) -> Result<u8, AppError> {
    interrupt::install();
    let device = setup::machine(&args.machine)?;
    let known = args.subject.as_deref().map(|subject| Known::of(subject, args)).transpose()?;
    let split = match (&known, &args.split) {
        (Some(known), _) => known.subject.design.split.clone(),
        (None, Some(split)) => split.clone(),
        (None, None) => unreachable!("clap demands a subject or a split"),
    };
    let assets = assets(args, known.as_ref(), &split, output)?;
    let progress = Progress::new(output.progress());
    let audit = Audit::prepare(args, assets, device, &split, &progress)?;
    let (subjects, remarks) = match known {
        Some(known) => {
            let others = (known.data_hash != audit.laboratory.parts().hash).then(|| {
                "These are other images than those that the claims were measured on: a difference may be theirs."
                    .to_owned()
            });
            (vec![known.subject], Vec::from_iter(others))
        }
        None => (audit.asked(&split)?, Vec::new()),
    };
    let mut code = exit::DONE;
    for subject in subjects {
        let view = audit.view(subject, remarks.clone())?;
        let folder = args.folders.reports.join(format!("{}-audit", view.name));
        let page = report::write_audit(&view, &folder)?;
        progress.finish();
        if !view.objections.is_empty() {
            code = exit::UNVERIFIED;
        }
        match output.json {
            true => emit("audit", telling::object(&view, &page)),
            false => telling::print(&view, &page),
        }
    }
    Ok(code)
}

/// Images and weights, those that the subject was measured with.
fn assets(args: &AuditArgs, known: Option<&Known>, split: &str, output: Output) -> Result<Assets, AppError> {
    let space = args.space.clone().or_else(|| known?.space.clone());
    let space = space.ok_or_else(|| AppError::Flag {
        flag: "space",
        value: "none".to_owned(),
        problem: "a package doesn't say which images to attack: give the space that has them".to_owned(),
    })?;
    let mut from = args.assets.clone();
    from.weights = from.weights.or_else(|| known?.weights.clone());
    let assets = setup::assets(&space, &from, Some(split), output)?;
    let layer = assets.space.architecture().layer(split)?;
    if known.is_some_and(|known| !known.is_of(&assets.backbone, layer, args.space.is_some())) {
        return Err(AppError::Flag {
            flag: "weights",
            value: assets.file.backbone.weights.display().to_string(),
            problem: format!("these are not the weights, or not at the precision, that {split} was measured with"),
        });
    }
    measure::check_channels(split, layer.out_channels, &[], &args.depth)?;
    Ok(assets)
}

/// What every design is audited with.
struct Audit<'a> {
    args: &'a AuditArgs,
    progress: &'a Progress,
    space: Space,
    laboratory: Laboratory,
    device: String,
    attacks: Vec<Attack>,
    floors: Floors,
    /// What the instrument's own checks object to.
    unsound: Vec<String>,
}

impl<'a> Audit<'a> {
    fn prepare(
        args: &'a AuditArgs,
        assets: Assets,
        device: Device,
        split: &str,
        progress: &'a Progress,
    ) -> Result<Self, AppError> {
        let cache = FeatureCache::new(args.folders.results.join("features"));
        let Assets { space, parts, backbone, .. } = assets;
        let laboratory = Laboratory::new(parts, backbone, cache, device);
        progress.stage(&format!("features of {split}"));
        laboratory.prepare(&[split], interrupt::flag(), &mut |done| {
            progress.fraction("features of the local net", done);
        })?;
        let floors = laboratory.floors()?;
        let unsound = sanity(&laboratory, &floors)?;
        let attacks = attacks(&args.attacks);
        Ok(Self { args, progress, space, laboratory, device: device.to_string(), attacks, floors, unsound })
    }

    /// The designs that the command line names.
    fn asked(&self, split: &str) -> Result<Vec<Subject>, AppError> {
        let chosen = measure::chosen(split, &self.args.depth, &self.args.selection, &self.laboratory)?;
        let subject = |(design, selection)| Subject {
            name: None,
            design,
            selection,
            claims: Vec::new(),
            attacker: Attacker::default(),
            verification: None,
        };
        Ok(chosen.into_iter().map(subject).collect())
    }

    /// At least as much as the claims were verified with.
    fn effort(&self, subject: &Subject) -> Effort {
        let effort = if self.args.full { Effort::full() } else { Effort::quick() };
        let effort = subject.verification.map_or(effort, |verification| effort.at_least(verification));
        effort.scaled(usize::from(self.args.scale))
    }

    /// Attacks a design; `remarks` are those that are known before.
    fn view(&self, mut subject: Subject, mut remarks: Vec<String>) -> Result<AuditView, AppError> {
        let Self { args, laboratory, .. } = self;
        // Whoever finds out the channels makes his own pairs, and inverts.
        if !subject.attacker.knows_channels
            && laboratory.guess_channels(&subject.design)?.as_ref() == Some(&subject.design.channels)
        {
            subject.attacker.knows_channels = true;
            remarks.push(
                "The channels were to be a secret; the attacker found out all of them, so that he counts as one who knows \
                 them."
                    .to_owned(),
            );
        }
        let effort = self.effort(&subject);
        let id = subject.design.id().to_string();
        let watch = Watcher { progress: self.progress, design: id.clone() };
        let findings =
            audit::run(laboratory, &subject.design, &self.attacks, subject.attacker, &effort, args.seed, &watch)?;
        let mut objections = audit::objections(&findings, &subject.claims, subject.attacker);
        if !subject.claims.is_empty() {
            objections.extend(audit::left_out(&findings, subject.attacker, &subject.design));
        }
        objections.extend(self.unsound.clone());
        let beyond = findings.iter().filter(|finding| !finding.attack.is_within(subject.attacker));
        remarks.extend(beyond.map(|finding| {
            format!("The claims are about an attacker who can't mount this attack: {}.", finding.attack.title())
        }));
        let gallery = findings.iter().filter_map(pictures).collect();
        let findings = findings.into_iter().map(|finding| Finding { gallery: None, ..finding }).collect();
        let parts = laboratory.parts();
        let depth = subject.design.channels.depth();
        Ok(AuditView {
            name: subject.name.unwrap_or_else(|| id.clone()),
            id,
            cost: self.space.cost(&subject.design.split, depth)?.into(),
            split: subject.design.split,
            depth,
            selection: subject.selection,
            images: [&parts.training, &parts.validation, &parts.evaluation].map(|set| set.len()),
            effort: effort.to_string(),
            seed: args.seed,
            device: self.device.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            command: command(),
            floors: self.floors,
            findings,
            claims: subject.claims,
            objections,
            remarks,
            gallery,
        })
    }
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
