//! What a study is about, and what determines its measurements.

use std::fmt;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{StoreError, Warning};
use super::{files, sealed};

/// Version of the header's and the journal's format. Raised with every change that an older program would misread.
pub const SCHEMA_VERSION: u32 = 1;

/// No header comes near this size: 16 MiB.
const MAX_BYTES: u64 = 16 << 20;

/// Content hashes of all that determines a study's measurements, in any notation that is stable.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Inputs {
    /// Of the validated budget.
    pub budget: String,
    /// Of the validated search space.
    pub space: String,
    /// Of the images and labels of all parts.
    pub data: String,
    /// Of the pre-trained weights.
    pub weights: String,
    /// Of the protocols, and of how figures are taken.
    #[serde(default)]
    pub protocols: String,
}

/// One of the [`Inputs`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Input {
    /// The budget.
    Budget,
    /// The search space.
    Space,
    /// Images and labels.
    Data,
    /// Pre-trained weights.
    Weights,
    /// How figures are measured.
    Protocols,
}

impl fmt::Display for Input {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Input::Budget => "budget",
            Input::Space => "space",
            Input::Data => "data",
            Input::Weights => "weights",
            Input::Protocols => "protocols",
        })
    }
}

impl Inputs {
    fn named(&self) -> [(Input, &str); 5] {
        [
            (Input::Budget, &self.budget),
            (Input::Space, &self.space),
            (Input::Data, &self.data),
            (Input::Weights, &self.weights),
            (Input::Protocols, &self.protocols),
        ]
    }

    /// Which inputs are not the same in `other`.
    pub fn differing(&self, other: &Inputs) -> Vec<Input> {
        let pairs = self.named().into_iter().zip(other.named());
        pairs.filter(|(own, theirs)| own.1 != theirs.1).map(|(own, _)| own.0).collect()
    }
}

/// The contents of `study.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Header {
    /// Version of this format, [`SCHEMA_VERSION`].
    pub schema_version: u32,
    /// The study's name.
    pub name: String,
    /// What its measurements depend on.
    pub inputs: Inputs,
    /// When it was created, seconds since 1970-01-01 UTC.
    pub created: u64,
    /// Version of the program that created it.
    pub tool_version: String,
    /// Anything else worth knowing: command line, paths, device, threads.
    pub provenance: Value,
}

impl Header {
    /// The header of a study that is created now, by this program.
    pub fn new(name: impl Into<String>, inputs: Inputs, provenance: Value) -> Self {
        // A clock before 1970 is no reason to measure nothing.
        let created = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        Header {
            schema_version: SCHEMA_VERSION,
            name: name.into(),
            inputs,
            created,
            tool_version: env!("CARGO_PKG_VERSION").to_owned(),
            provenance,
        }
    }

    /// 128 bits, as 32 hexadecimal digits, that tell studies with different [`Inputs`] apart.
    pub fn fingerprint(&self) -> String {
        let mut hasher = blake3::Hasher::new();
        hasher.update(b"privynet study 1");
        for (_, hash) in self.inputs.named() {
            hasher.update(&(hash.len() as u64).to_le_bytes());
            hasher.update(hash.as_bytes());
        }
        let mut digits = hasher.finalize().to_hex().to_string();
        digits.truncate(32);
        digits
    }

    /// The header at `path`, `None` if there is none.
    pub(super) fn read(path: &Path) -> Result<Option<Self>, StoreError> {
        if !files::exists(path).map_err(StoreError::reading(path))? {
            return Ok(None);
        }
        let corrupt = |reason: String| StoreError::CorruptHeader { path: path.into(), reason };
        let bytes = files::read_up_to(path, MAX_BYTES).map_err(StoreError::reading(path))?;
        let value: Value = serde_json::from_slice(&bytes).map_err(|error| corrupt(error.to_string()))?;
        // Before anything else: a newer header may look quite different.
        let version = value.get("schema_version").and_then(Value::as_u64);
        let found = version.ok_or_else(|| corrupt("it has no schema_version".to_owned()))?;
        if found != u64::from(SCHEMA_VERSION) {
            return Err(StoreError::SchemaVersion { path: path.into(), found, supported: SCHEMA_VERSION });
        }
        if let Some(flaw) = sealed::flaw(&bytes, "schema_version") {
            return Err(corrupt(flaw.to_owned()));
        }
        serde_json::from_value(value).map(Some).map_err(|error| corrupt(error.to_string()))
    }

    pub(super) fn write(&self, path: &Path) -> Result<(), StoreError> {
        files::replace(path, &sealed::encode(path, self)?).map_err(StoreError::writing(path, 0))
    }

    /// Refuses to continue this study, stored in `dir`, as one with other inputs.
    pub(super) fn refuse_other(&self, requested: &Header, dir: &Path) -> Result<(), StoreError> {
        let differing = self.inputs.differing(&requested.inputs);
        if differing.is_empty() {
            return Ok(());
        }
        Err(StoreError::OtherStudy {
            dir: dir.into(),
            stored: self.fingerprint(),
            requested: requested.fingerprint(),
            differing,
        })
    }

    /// A warning if another version of the program began the study.
    pub(super) fn other_tool(&self) -> Option<Warning> {
        let current = env!("CARGO_PKG_VERSION");
        (self.tool_version != current)
            .then(|| Warning::OtherTool { stored: self.tool_version.clone(), current: current.to_owned() })
    }
}
