//! What is audited: the design of a study or of a package, with what is claimed of it.

use std::path::{Path, PathBuf};

use crate::app::{AppError, read_study};
use crate::backbone::{Backbone, Layer};
use crate::cli::AuditArgs;
use crate::config::Attacker;
use crate::export::{self, Claim};
use crate::measurement::Fidelity;
use crate::record::Record;
use crate::space::Design;

/// What is audited.
pub(super) struct Subject {
    /// The study's or package's name, where it comes from one.
    pub(super) name: Option<String>,
    pub(super) design: Design,
    pub(super) selection: String,
    pub(super) claims: Vec<Claim>,
    /// Whom the claims are about.
    pub(super) attacker: Attacker,
    /// What the claims were verified with.
    pub(super) verification: Option<Fidelity>,
}

/// A subject that a study or a package names, and what it was measured with.
pub(super) struct Known {
    pub(super) subject: Subject,
    pub(super) space: Option<PathBuf>,
    pub(super) weights: Option<PathBuf>,
    /// Hash of the weights that it was measured with.
    weights_hash: WeightsHash,
    /// Hash of the images that it was measured on.
    pub(super) data_hash: String,
}

/// Which weights were hashed.
enum WeightsHash {
    /// Those through the split layer.
    Through(String),
    /// Those through the deepest layer of the study's space.
    Whole(String),
}

impl Known {
    /// A package's or a study's design.
    pub(super) fn of(subject: &Path, args: &AuditArgs) -> Result<Self, AppError> {
        if subject.join(export::MANIFEST_FILE).is_file() {
            return Ok(Self::of_package(&export::Package::open(subject)?));
        }
        let dir = read_study::folder(subject, &args.folders)?;
        let (_, record) = read_study::open(&dir)?;
        Self::of_study(&record).ok_or_else(|| AppError::Study {
            path: dir,
            problem: "has no chosen design to audit: its budget can't be met, loosen it".to_owned(),
        })
    }

    fn of_package(package: &export::Package) -> Self {
        let manifest = package.manifest();
        Self {
            subject: Subject {
                name: Some(manifest.study.clone()),
                design: manifest.design.clone(),
                selection: manifest.selection.clone(),
                claims: manifest.claims.clone(),
                attacker: manifest.attacker,
                verification: manifest.protocol.as_ref().and_then(|protocol| protocol.parse().ok()),
            },
            space: None,
            weights: None,
            weights_hash: WeightsHash::Through(manifest.weights_hash.clone()),
            data_hash: manifest.data_hash.clone(),
        }
    }

    fn of_study(record: &Record) -> Option<Self> {
        let chosen = record.chosen_design()?;
        Some(Self {
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

    /// Whether it was measured with these weights; `other_space` may reach deeper than its own.
    pub(super) fn is_of(&self, backbone: &Backbone, split: &Layer, other_space: bool) -> bool {
        match &self.weights_hash {
            WeightsHash::Through(hash) => backbone.hash_through(split).to_hex().as_str() == hash,
            WeightsHash::Whole(hash) => other_space || backbone.hash().to_hex().as_str() == hash,
        }
    }
}
