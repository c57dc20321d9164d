//! `budget.yaml`: what the user can afford and what must stay private.

use std::borrow::Cow;
use std::path::{Path, PathBuf};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use super::attacker::Attacker;
use super::executor_entry::{ExecutorEntry, without_executor};
use super::{ConfigError, relative_to, schema, yaml};
use crate::units::{self, Bytes, Decibel, Duration, Latency, Macs};

/// A validated budget file.
#[derive(Debug, Clone)]
pub struct BudgetFile {
    /// Where it was read.
    pub path: PathBuf,
    /// Its text.
    pub text: String,
    /// What of its text is hashed into the study's identity: all but the executor.
    pub identity: String,
    /// The search space's file.
    pub space: PathBuf,
    /// The study's name: the folder under `results/` and `reports/`.
    pub name: String,
    /// Seed of everything random in the study.
    pub seed: u64,
    /// Largest number of multiply-accumulates on the device, per image.
    pub compute: Option<Macs>,
    /// Largest size of the local net's parameters on the device.
    pub storage: Option<Bytes>,
    /// Largest peak of activation memory on the device.
    pub memory: Option<Bytes>,
    /// Largest upload per image.
    pub upload: Option<Bytes>,
    /// Largest latency on the device.
    pub latency: Option<LatencyBudget>,
    /// Largest leakage.
    pub privacy: PrivacyBudget,
    /// What is sought.
    pub objective: Objective,
    /// Which designs are measured.
    pub strategy: Strategy,
    /// How much to measure.
    pub effort: Effort,
    /// Where measurements run.
    pub executor: ExecutorEntry,
}

/// A bound on what the local net takes on the device.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, expecting = "a bound and a profile, such as {max: 5 ms, profile: device.yaml}")]
pub struct LatencyBudget {
    /// Largest median latency of an image.
    pub max: Latency,
    /// The device's profile, as `privynet profile` writes it.
    pub profile: PathBuf,
}

/// Bounds on what the attacker recovers.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, expecting = "keys and values such as {psnr: {mean: 18 dB}}")]
#[schemars(extend("anyOf" = [{"required": ["psnr"]}, {"required": ["ssim"]}]))]
pub struct PrivacyBudget {
    /// Bounds on the PSNR of the attacker's reconstructions.
    #[serde(default)]
    pub psnr: PsnrBudget,
    /// Largest mean SSIM of the attacker's reconstructions.
    #[serde(default)]
    #[schemars(range(min = 0.0, max = 1.0))]
    pub ssim: Option<f64>,
    /// Probability with which every privacy bound must hold together.
    #[serde(default = "default_confidence", deserialize_with = "confidence")]
    #[schemars(schema_with = "schema::confidence")]
    pub confidence: f64,
    /// Whom the bounds must hold against.
    #[serde(default)]
    pub attacker: Attacker,
}

/// Bounds on PSNR over evaluation images.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, expecting = "keys and values such as {mean: 18 dB, p95: 21 dB}")]
pub struct PsnrBudget {
    /// Bound on the mean.
    #[serde(default)]
    pub mean: Option<Decibel>,
    /// Bound on the 95th percentile.
    #[serde(default)]
    pub p95: Option<Decibel>,
}

/// How much is measured.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Effort {
    /// The protocol of the search's measurements and of the verification.
    pub level: EffortLevel,
    /// Measurements before the answer is verified; the level's default where absent.
    pub evaluations: Option<usize>,
    /// No new measurement starts after this time.
    pub minutes: Option<Duration>,
}

/// What is sought.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Objective {
    /// The most accurate design within the bounds.
    #[default]
    Accuracy,
    /// The front of accuracy against mean PSNR within the bounds; its most accurate design is verified.
    Front,
}

/// Which designs are measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Strategy {
    /// Those that promise most by Gaussian processes fitted to what was measured
    #[default]
    Model,
    /// The paper's: split and depth are characterised first, then channels are varied at the best of them
    Hierarchical,
    /// All, in order
    Exhaustive,
    /// Uniform draws
    Random,
}

impl std::fmt::Display for Strategy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            Self::Model => "model",
            Self::Hierarchical => "hierarchical",
            Self::Exhaustive => "exhaustive",
            Self::Random => "random",
        })
    }
}

/// A named amount of effort.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum EffortLevel {
    /// Minutes on two cores.
    Quick,
    /// An hour or so on two cores.
    Standard,
    /// For a GPU, or a night.
    Thorough,
}

fn confidence<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
    units::share(deserializer).map_err(|error| serde::de::Error::custom(format!("confidence: {error}")))
}

fn default_confidence() -> f64 {
    0.95
}

/// The file as it is written; its comments are what an editor shows of a key.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(title = "PrivyNet budget", description = "What the device can afford and what must stay private.")]
pub(super) struct Raw {
    /// The search space's file, relative to this one.
    space: PathBuf,
    /// The study's name: the folder under `results/` and `reports/`; this file's folder and name where absent.
    #[schemars(length(max = 100), regex(pattern = r"^[A-Za-z0-9_-][A-Za-z0-9_.-]*$"))]
    name: Option<String>,
    /// Seed of everything random in the study.
    #[serde(default)]
    seed: u64,
    /// What is sought.
    #[serde(default)]
    objective: Objective,
    /// Which designs are measured.
    #[serde(default)]
    strategy: Strategy,
    /// Largest number of multiply-accumulates on the device, per image.
    compute: Option<Macs>,
    /// Largest size of the local net's parameters on the device.
    storage: Option<Bytes>,
    /// Largest peak of activation memory on the device.
    memory: Option<Bytes>,
    /// Largest upload per image.
    upload: Option<Bytes>,
    /// Largest latency of an image on a device, by its profile.
    latency: Option<LatencyBudget>,
    /// Largest leakage.
    privacy: PrivacyBudget,
    /// How much is measured.
    #[serde(default = "default_effort")]
    effort: RawEffort,
    /// Where measurements run, and what becomes of those that fail. It changes no figure and may change at any time.
    #[serde(default)]
    executor: ExecutorEntry,
}

fn default_effort() -> RawEffort {
    RawEffort::Level(EffortLevel::Quick)
}

enum RawEffort {
    Level(EffortLevel),
    Numbers(EffortNumbers),
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct EffortNumbers {
    /// The protocol of the search's measurements and of the verification.
    #[serde(default = "quick")]
    level: EffortLevel,
    /// Measurements before the answer is verified; the level's default where absent.
    #[schemars(range(min = 1))]
    evaluations: Option<usize>,
    /// Minutes that the search and one verification may take.
    #[schemars(extend("exclusiveMinimum" = 0))]
    minutes: Option<f64>,
}

fn quick() -> EffortLevel {
    EffortLevel::Quick
}

/// `quick`, or a map of numbers: written by hand because an untagged enum would swallow the reason of a refusal.
impl<'de> Deserialize<'de> for RawEffort {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl<'de> serde::de::Visitor<'de> for Visitor {
            type Value = RawEffort;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("quick, standard, thorough, or numbers such as {evaluations: 30, minutes: 20}")
            }
            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<RawEffort, E> {
                EffortLevel::deserialize(serde::de::value::StrDeserializer::new(text)).map(RawEffort::Level)
            }
            fn visit_map<A: serde::de::MapAccess<'de>>(self, map: A) -> Result<RawEffort, A::Error> {
                EffortNumbers::deserialize(serde::de::value::MapAccessDeserializer::new(map)).map(RawEffort::Numbers)
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

impl JsonSchema for RawEffort {
    fn schema_name() -> Cow<'static, str> {
        "Effort".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let (level, numbers) = (EffortLevel::json_schema(generator), EffortNumbers::json_schema(generator));
        json_schema!({"anyOf": [level, numbers], "default": EffortLevel::Quick})
    }
}

impl BudgetFile {
    /// Reads and validates the budget at `path`.
    ///
    /// # Errors
    /// [`ConfigError`] with the file, the line or field, the value and what is accepted.
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        let (raw, text) = yaml::read::<Raw>(path)?;
        Self::validate(path, raw, &text).map_err(|error| error.located(&text))
    }

    fn validate(path: &Path, raw: Raw, text: &str) -> Result<Self, ConfigError> {
        let name = raw.name.clone().unwrap_or_else(|| default_name(path));
        let problems = [raw.problem(), effort_problem(&raw.effort), name_problem(&name)];
        if let Some(Problem { field, value, accepted }) = problems.into_iter().flatten().next() {
            return Err(ConfigError::field(path, &field, value, &accepted));
        }
        let latency =
            raw.latency.map(|latency| LatencyBudget { profile: relative_to(path, &latency.profile), ..latency });
        Ok(Self {
            space: relative_to(path, &raw.space),
            path: path.to_owned(),
            text: text.to_owned(),
            identity: without_executor(text),
            name,
            seed: raw.seed,
            compute: raw.compute,
            storage: raw.storage,
            memory: raw.memory,
            upload: raw.upload,
            latency,
            privacy: raw.privacy,
            objective: raw.objective,
            strategy: raw.strategy,
            effort: raw.effort.into(),
            executor: raw.executor,
        })
    }
}

/// A value that is of the right type and yet not accepted.
struct Problem {
    field: String,
    value: String,
    accepted: String,
}

fn problem(field: &str, value: impl ToString, accepted: &str) -> Option<Problem> {
    Some(Problem { field: field.to_owned(), value: value.to_string(), accepted: accepted.to_owned() })
}

impl Raw {
    fn problem(&self) -> Option<Problem> {
        let PrivacyBudget { psnr, ssim, confidence, attacker } = &self.privacy;
        if let Some((field, value, accepted)) = attacker.problem() {
            return problem(&format!("privacy.attacker.{field}"), value, &accepted);
        }
        if let Some((field, value, accepted)) = self.executor.problem() {
            return problem(field, value, accepted);
        }
        if !(0.5..1.0).contains(confidence) {
            return problem("privacy.confidence", confidence, "must be at least 0.5 and below 1, for example 0.95");
        }
        if let Some(ssim) = ssim.filter(|ssim| !(0.0..=1.0).contains(ssim)) {
            return problem("privacy.ssim", ssim, "must be between 0 and 1");
        }
        if psnr.mean.is_none() && psnr.p95.is_none() && ssim.is_none() {
            let accepted = "give at least one of psnr.mean, psnr.p95 (as `18 dB`) and ssim (as `0.6`)";
            return problem("privacy", "no bound", accepted);
        }
        let exact = [
            ("compute", self.compute.map(|m| m.0)),
            ("storage", self.storage.map(|b| b.0)),
            ("memory", self.memory.map(|b| b.0)),
            ("upload", self.upload.map(|b| b.0)),
            ("latency.max", self.latency.as_ref().map(|b| b.max.0)),
        ];
        let (field, _) = exact.into_iter().find(|&(_, limit)| limit == Some(0))?;
        problem(field, 0, "no local net fits in nothing: give a positive quantity, or leave the key out")
    }
}

fn effort_problem(effort: &RawEffort) -> Option<Problem> {
    let RawEffort::Numbers(numbers) = effort else {
        return None;
    };
    if numbers.evaluations == Some(0) {
        return problem("effort.evaluations", 0, "must be at least 1");
    }
    let minutes = numbers.minutes.filter(|minutes| !(minutes.is_finite() && *minutes > 0.0))?;
    problem("effort.minutes", minutes, "must be a positive number, for example 20")
}

fn name_problem(name: &str) -> Option<Problem> {
    let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if !name.is_empty() && name.len() <= 100 && !name.starts_with('.') && name.chars().all(legal) {
        return None;
    }
    let accepted = "is the name of a folder: 1 to 100 of letters, digits, `-`, `_` and `.`, not starting with `.`";
    problem("name", name, accepted)
}

impl From<RawEffort> for Effort {
    fn from(raw: RawEffort) -> Self {
        match raw {
            RawEffort::Level(level) => Self { level, evaluations: None, minutes: None },
            RawEffort::Numbers(numbers) => Self {
                level: numbers.level,
                evaluations: numbers.evaluations,
                minutes: numbers.minutes.map(|m| Duration(60.0 * m)),
            },
        }
    }
}

/// `FOLDER-STEM`, so that `spaces/NAME/budget.yaml` and `spaces/NAME/tight.yaml` are studies of their own.
fn default_name(path: &Path) -> String {
    let part = |p: Option<&std::ffi::OsStr>| p.map(|s| s.to_string_lossy().into_owned()).unwrap_or_default();
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let folder = part(absolute.parent().and_then(Path::file_name));
    let stem = part(absolute.file_stem());
    let name = if folder.is_empty() { stem } else { format!("{folder}-{stem}") };
    name.chars()
        .map(|c| if c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.') { c } else { '-' })
        .collect::<String>()
        .trim_start_matches('.')
        .to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "space: space.yaml\nseed: 7\nobjective: accuracy\ncompute: 30 MMAC\nstorage: 300 KiB\n\
                        privacy:\n  psnr: {mean: 18 dB, p95: 21 dB}\n  confidence: 0.9\neffort: quick\n";

    fn read(text: &str) -> Result<BudgetFile, ConfigError> {
        let path = Path::new("spaces/demo/budget.yaml");
        BudgetFile::validate(path, yaml::parse(path, text)?, text).map_err(|error| error.located(text))
    }

    fn message(text: &str) -> String {
        read(text).unwrap_err().to_string()
    }

    #[test]
    fn a_good_budget_is_read() {
        let budget = read(GOOD).unwrap();
        assert_eq!(budget.compute, Some(Macs(30_000_000)));
        assert_eq!(budget.storage, Some(Bytes(307_200)));
        assert_eq!(budget.privacy.psnr.p95, Some(Decibel(21.0)));
        assert_eq!(budget.space, Path::new("spaces/demo/space.yaml"));
        assert_eq!(budget.name, "demo-budget");
        assert_eq!(budget.effort.level, EffortLevel::Quick);
        let numbers = read(&GOOD.replace("effort: quick", "effort: {evaluations: 12, minutes: 3}"));
        assert_eq!(numbers.unwrap().effort.minutes, Some(Duration(180.0)));
        let timed = read(&GOOD.replace("seed: 7", "latency: {max: 5 ms, profile: device.yaml}")).unwrap();
        let latency = LatencyBudget { max: Latency(5_000_000), profile: "spaces/demo/device.yaml".into() };
        assert_eq!(timed.latency, Some(latency));
    }

    #[test]
    fn bad_budgets_name_line_field_value_and_remedy() {
        for (from, to, expected) in [
            ("seed: 7", "sed: 7", vec!["budget.yaml:2", "unknown field `sed`", "`seed`"]),
            ("30 MMAC", "30", vec!["budget.yaml:4", "compute", "`30` has no unit", "30 MMAC"]),
            ("30 MMAC", "-30 MMAC", vec!["budget.yaml:4", "-30 MMAC", "at least 0"]),
            ("30 MMAC", ".nan", vec!["budget.yaml:4", "finite"]),
            ("30 MMAC", "0 MAC", vec!["compute", "nothing"]),
            ("300 KiB", "300 dB", vec!["budget.yaml:5", "`dB`", "KiB"]),
            ("seed: 7", "latency: 5 ms", vec!["budget.yaml:2", "latency", "profile: device.yaml}"]),
            ("seed: 7", "latency: {max: 5 ms}", vec!["latency", "missing field `profile`"]),
            ("seed: 7", "latency: {max: 5, profile: d.yaml}", vec!["latency.max", "`5` has no unit", "5 ms"]),
            ("seed: 7", "latency: {max: 0 ms, profile: d.yaml}", vec!["latency.max: 0", "nothing"]),
            ("18 dB", "loud", vec!["budget.yaml:7", "psnr.mean", "`loud`", "18 dB"]),
            ("confidence: 0.9", "confidence: 95", vec!["privacy.confidence: 95", "0.95"]),
            ("confidence: 0.9", "confidence: sure", vec!["privacy: confidence", "`sure`", "95 %"]),
            ("confidence: 0.9", "attacker: {pairs: 3}", vec!["privacy.attacker.pairs: 3", "at least 16"]),
            (
                "confidence: 0.9",
                "attacker: {pairs: 0, knows_local_net: false}",
                vec!["pairs: 0", "audit --attacks shadow"],
            ),
            ("confidence: 0.9", "attacker: {pairs: 300}", vec!["attacker.pairs: 300", "knows_local_net: false"]),
            ("confidence: 0.9", "attacker: {knows_channels: false}", vec!["knows_channels: false", "`pairs: 0`"]),
            ("confidence: 0.9", "attacker: {knows: all}", vec!["knows"]),
            ("effort: quick", "effort: fast", vec!["`fast`", "quick", "thorough"]),
            ("effort: quick", "effort: {evals: 3}", vec!["unknown field `evals`"]),
            ("effort: quick", "effort: {minutes: -3}", vec!["effort.minutes", "-3"]),
            ("objective: accuracy", "objective: speed", vec!["`speed`", "accuracy"]),
            ("seed: 7", "seed: [", vec!["budget.yaml:"]),
            ("  psnr: {mean", "\tpsnr: {mean", vec!["budget.yaml:7", "spaces", "tab"]),
            ("psnr: {mean: 18 dB, p95: 21 dB}", "psnr: {}", vec!["privacy", "18 dB"]),
            ("seed: 7", "name: ../x", vec!["name", "../x"]),
        ] {
            let text = message(&GOOD.replace(from, to));
            for part in expected {
                assert!(text.contains(part), "{to}: `{text}` lacks `{part}`");
            }
        }
        assert!(message("").contains("empty"));
    }
}
