//! What several commands need before they start: validated files, images, weights, threads, device.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use crate::backbone::{Architecture, Backbone, BackboneError, Layer};
use crate::cli::{AssetArgs, MachineArgs, ResourceArgs};
use crate::config::{BudgetFile, ConfigError, ProfileFile, SpaceFile, WeightsPrecision};
use crate::data::{self, DataError, ImageSet, Parts};
use crate::estimate::{AttackLadder, CloudAccuracy, Estimator, Laboratory};
use crate::exec::Lanes;
use crate::features::FeatureCache;
use crate::measurement::Metric;
use crate::metrics;
use crate::nn::{Device, Shape};
use crate::protocol::{Plan, Workload};
use crate::space::{Cost, Slot, Space};
use crate::store::Inputs;
use crate::verify::{self, MetricBound};

use super::progress::Style;
use super::{AppError, Output};

/// A validated space with its images and weights.
pub(super) struct Assets {
    pub(super) file: SpaceFile,
    pub(super) space: Space,
    pub(super) parts: Parts,
    pub(super) backbone: Backbone,
    /// BLAKE3 of the weights as they were read, before they were rounded.
    pub(super) weights_read: blake3::Hash,
    /// The device's, where the budget names one.
    pub(super) profile: Option<ProfileFile>,
}

/// What a study needs: as [`assets`], with the latencies of the device that the budget names.
pub(super) fn study_assets(budget: &BudgetFile, args: &AssetArgs, output: Output) -> Result<Assets, AppError> {
    let named = |field: &str, error: ConfigError| match error {
        // The mistake is the name, and where that stands.
        ConfigError::Read { path, hint, source } => {
            let problem = format!("cannot be read{hint}: check that it exists and may be read ({source})");
            ConfigError::field(&budget.path, field, path.display(), problem).located(&budget.text)
        }
        error => error,
    };
    let profile = budget.latency.as_ref().map(|latency| ProfileFile::read(&latency.profile)).transpose();
    let profile = profile.map_err(|error| named("latency.profile", error))?;
    let assets = assets(&budget.space, args, None, output).map_err(|error| match error {
        AppError::Config(error) => named("space", error).into(),
        error => error,
    })?;
    let Assets { file, space, parts, backbone, weights_read, .. } = assets;
    let space = match &profile {
        Some(profile) => space.timed(profile)?,
        None => space,
    };
    Ok(Assets { file, space, parts, backbone, weights_read, profile })
}

/// Reads a space, its images and its weights up to the deepest of `also` and the space's splits.
pub(super) fn assets(space: &Path, args: &AssetArgs, also: Option<&str>, output: Output) -> Result<Assets, AppError> {
    let mut file = SpaceFile::read(space, args.weights.as_deref(), args.data.as_deref())?;
    file.fetch(output.progress() == Style::Shown)?;
    let architecture = file.architecture()?;
    // Names and depths are checked before a single image is read; sides once they are known.
    Space::new(&file, architecture, None)?;
    let layer = |name: &str| {
        let unknown =
            |error: BackboneError| AppError::Flag { flag: "split", value: name.to_owned(), problem: error.to_string() };
        architecture.layer(name).map_err(unknown)
    };
    let also = also.map(layer).transpose()?;
    let parts = data::load(&file.parts()).map_err(|error| unreadable(&file, error))?;
    let space = Space::new(&file, architecture, Some(parts.evaluation.side()))?;
    let deepest = deepest(architecture, space.splits().into_iter().chain(also));
    let loaded = Backbone::load(&file.backbone.file(), deepest.name)?;
    let weights_read = loaded.hash();
    // What is measured is what the device will run.
    let backbone = match file.precision.weights {
        WeightsPrecision::F16 => loaded.rounded_to_half()?,
        WeightsPrecision::F32 => loaded,
        WeightsPrecision::Int8 => loaded.quantised(&calibration(&parts.training))?,
    };
    Ok(Assets { file, space, parts, backbone, weights_read, profile: None })
}

/// Images that can't be read, with the place that names them.
fn unreadable(file: &SpaceFile, error: DataError) -> AppError {
    match error {
        DataError::Read { path, source } => {
            // As the file writes it, below `path`.
            let below = path.strip_prefix(&file.data.path).ok().filter(|below| !below.as_os_str().is_empty());
            let value = below.unwrap_or(&path).display().to_string();
            let problem = format!("cannot read `{}`: check that it exists and may be read ({source})", path.display());
            ConfigError::field(&file.path, "data", value, problem).located(&file.text).into()
        }
        error => error.into(),
    }
}

/// Training images spread over the part, by which weights of eight bits are chosen: `[n, side, side, 3]`.
fn calibration(training: &ImageSet) -> Vec<&[u8]> {
    const IMAGES: usize = 32;
    let count = training.len().min(IMAGES);
    (0..count).map(|i| training.image(i * training.len() / count)).collect()
}

/// The deepest of `layers`; the first layer where there are none.
fn deepest(architecture: Architecture, layers: impl Iterator<Item = &'static Layer>) -> &'static Layer {
    layers.max_by_key(|layer| layer.index).unwrap_or(&architecture.layers()[0])
}

/// The leakage bounds of a budget.
pub(super) fn bounds(budget: &BudgetFile) -> Vec<MetricBound> {
    let privacy = &budget.privacy;
    let bound = |metric, limit: Option<f64>| limit.map(|limit| MetricBound { metric, limit });
    [
        bound(Metric::PsnrMean, privacy.psnr.mean.map(|db| db.0)),
        bound(Metric::PsnrP95, privacy.psnr.p95.map(|db| db.0)),
        bound(Metric::SsimMean, privacy.ssim),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// Refuses a bound on the 95th percentile that no number of trainings could confirm on so few images.
pub(super) fn enough_images(budget: &BudgetFile, assets: &Assets) -> Result<(), AppError> {
    let bounds = bounds(budget);
    if !bounds.iter().any(|bound| bound.metric == Metric::PsnrP95) {
        return Ok(());
    }
    let error_rate = verify::error_rate(budget.privacy.confidence, &bounds, &Plan::of(budget.effort.level));
    let (found, needed) = (assets.parts.evaluation.len(), metrics::values_for_upper(0.95, error_rate));
    if found >= needed {
        return Ok(());
    }
    let confidence = budget.privacy.confidence;
    let problem = format!(
        "{found} evaluation images are too few to confirm a 95th percentile with a confidence of {confidence}: at least {needed} are \
         needed; bound the mean only, lower `confidence`, or enlarge the evaluation part"
    );
    let bound = budget.privacy.psnr.p95.map(|p95| p95.to_string()).unwrap_or_default();
    Err(ConfigError::field(&budget.path, "privacy.psnr.p95", bound, problem).located(&budget.text).into())
}

/// An exact budget: its name, its limit, and what a design uses of it, in base units.
pub(super) struct ExactBudget {
    pub(super) name: &'static str,
    pub(super) limit: u64,
    pub(super) used: fn(&Cost) -> u64,
    pub(super) show: fn(u64) -> String,
}

/// The exact budgets that the user set.
pub(super) fn exact_budgets(budget: &BudgetFile) -> Vec<ExactBudget> {
    use crate::units::{Bytes, Latency, Macs};
    let latency = budget.latency.as_ref();
    let macs: fn(u64) -> String = |n| Macs(n).to_string();
    let bytes: fn(u64) -> String = |n| Bytes(n).to_string();
    let time: fn(u64) -> String = |n| Latency(n).to_string();
    let exact =
        |name, limit: Option<u64>, used: fn(&Cost) -> u64, show| Some(ExactBudget { name, limit: limit?, used, show });
    [
        exact("compute", budget.compute.map(|m| m.0), |c| c.macs.0, macs),
        exact("storage", budget.storage.map(|b| b.0), |c| c.bytes.0, bytes),
        exact("memory", budget.memory.map(|b| b.0), |c| c.peak_memory.0, bytes),
        exact("upload", budget.upload.map(|b| b.0), |c| c.upload_bytes.0, bytes),
        // What isn't timed fits no bound; a budget with a bound times every design.
        exact("latency", latency.map(|b| b.max.0), |c| c.latency.map_or(u64::MAX, |latency| latency.0), time),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// What the exact budgets leave of a space.
pub(super) struct Admission {
    pub(super) enumerated: usize,
    pub(super) admitted: usize,
    /// For each budget, how many slots break it.
    pub(super) removed: Vec<(&'static str, usize)>,
    /// Admitted slots of each split layer that has any.
    pub(super) splits: BTreeMap<usize, (&'static Layer, usize)>,
    /// The slot that exceeds its worst budget by the smallest factor, that budget's index and the factor.
    pub(super) nearest: Option<(Slot, Cost, usize, f64)>,
}

/// Applies the exact budgets to every slot.
pub(super) fn admission(space: &Space, budgets: &[ExactBudget]) -> Admission {
    let mut result = Admission {
        enumerated: 0,
        admitted: 0,
        removed: budgets.iter().map(|b| (b.name, 0)).collect(),
        splits: BTreeMap::new(),
        nearest: None,
    };
    for (slot, cost) in space.slots() {
        result.enumerated += 1;
        let mut worst: Option<(usize, f64)> = None;
        for (i, budget) in budgets.iter().enumerate() {
            let factor = (budget.used)(&cost) as f64 / budget.limit as f64;
            if factor > 1.0 {
                result.removed[i].1 += 1;
                if worst.is_none_or(|(_, f)| factor > f) {
                    worst = Some((i, factor));
                }
            }
        }
        match worst {
            None => {
                result.admitted += 1;
                result.splits.entry(slot.layer.index).or_insert((slot.layer, 0)).1 += 1;
            }
            Some((i, factor)) => {
                if result.nearest.as_ref().is_none_or(|&(.., least)| factor < least) {
                    result.nearest = Some((slot, cost, i, factor));
                }
            }
        }
    }
    result
}

/// What the work of measuring a design of this cost depends on.
pub(super) fn workload(assets: &Assets, cost: &Cost, depth: usize) -> Workload {
    let parts = &assets.parts;
    Workload {
        features: Shape::new(cost.side, cost.side, depth),
        image_side: parts.evaluation.side(),
        classes: parts.class_names.len(),
        training_images: parts.training.len(),
        local_macs: cost.macs.0,
    }
}

/// Hashes of what determines a study's figures. Paths are not in them: the same files elsewhere are the same study.
pub(super) fn inputs(budget: &BudgetFile, assets: &Assets, device: Device) -> Inputs {
    let hash = |text: &str| blake3::hash(text.as_bytes()).to_hex().to_string();
    // What verification measures of mixes: it was the mix of the layer's features once.
    const MIXES: &str = "mixes as uploaded";
    let protocols = hash(&format!("{} on {device}, {MIXES}", Plan::of(budget.effort.level).fingerprint()));
    // Another device's profile admits other designs.
    let budget = match &assets.profile {
        Some(profile) => format!("{}{}", budget.identity, profile.text),
        None => budget.identity.clone(),
    };
    Inputs {
        budget: hash(&budget),
        space: hash(&assets.file.text),
        data: assets.parts.hash.clone(),
        weights: assets.backbone.hash().to_hex().to_string(),
        protocols,
    }
}

/// What measures a design of a study.
pub(super) fn estimators<'a>(laboratory: &'a Laboratory, budget: &BudgetFile) -> Vec<Box<dyn Estimator + 'a>> {
    vec![Box::new(AttackLadder::new(laboratory, budget.privacy.attacker)), Box::new(CloudAccuracy::new(laboratory))]
}

/// How long a measurement may take.
pub(super) fn measurement_limit(budget: &BudgetFile) -> Option<Duration> {
    budget.executor.minutes.map(|minutes| Duration::from_secs_f64(60.0 * minutes))
}

/// Starts the thread pool and parses the device, which must be there.
pub(super) fn machine(args: &MachineArgs) -> Result<Device, AppError> {
    threads(args.threads)?;
    let device: Device = args.device.parse()?;
    // Before anything is written that names it.
    device.check()?;
    Ok(device)
}

/// Starts the thread pool.
pub(super) fn threads(threads: Option<usize>) -> Result<(), AppError> {
    if let Some(threads) = threads {
        let problem = |problem: String| AppError::Flag { flag: "threads", value: threads.to_string(), problem };
        if threads == 0 || threads > 1024 {
            return Err(problem("must be between 1 and 1024".to_owned()));
        }
        rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build_global()
            .map_err(|error| problem(error.to_string()))?;
    }
    Ok(())
}

/// How many designs are measured at once.
pub(super) fn lanes(jobs: Option<usize>) -> Result<Lanes, AppError> {
    match jobs {
        Some(0) => {
            Err(AppError::Flag { flag: "jobs", value: "0".to_owned(), problem: "must be at least 1".to_owned() })
        }
        jobs => Ok(Lanes::new(jobs)),
    }
}

/// The features kept in the folder of studies.
pub(super) fn cache(results: &Path, args: &ResourceArgs) -> FeatureCache {
    FeatureCache::new(results.join("features")).limited(args.feature_cache.map(|bytes| bytes.0))
}
