//! `device.yaml`: what local nets take on a device, as `privynet profile` measured it there.

mod curve;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::{ConfigError, yaml};
use crate::backbone::Architecture;
use crate::units::Latency;

pub use curve::{LatencyCurve, SpreadEntry};

/// Version of the file's layout.
const VERSION: u32 = 1;

/// A validated profile of a device.
#[derive(Debug, Clone, PartialEq)]
pub struct ProfileFile {
    /// Where it was read, or is to be written.
    pub path: PathBuf,
    /// Its text, hashed into the study's identity.
    pub text: String,
    /// The program that measured.
    pub program: String,
    /// The device.
    pub machine: MachineEntry,
    /// The net, by the name that spaces give it.
    pub architecture: String,
    /// What tells its structure at this side from all others: [`Architecture::fingerprint`].
    pub structure: String,
    /// Side of the images, in pixels.
    pub image_side: usize,
    /// Of each split layer the latency of the whole local net, by the channels kept.
    pub splits: BTreeMap<String, LatencyCurve>,
}

/// The device of a profile.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MachineEntry {
    /// Its processor's architecture, as Rust calls it.
    pub arch: String,
    /// Its operating system.
    pub os: String,
    /// What it says of its processor, or of itself.
    pub cpu: Option<String>,
    /// Threads that a local net ran on.
    pub threads: usize,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Raw {
    version: u32,
    program: String,
    machine: MachineEntry,
    architecture: String,
    structure: String,
    image_side: usize,
    splits: BTreeMap<String, BTreeMap<usize, SpreadEntry>>,
}

impl ProfileFile {
    /// Reads and validates the profile at `path`.
    ///
    /// # Errors
    /// [`ConfigError`] with the file, the line or field, the value and what is accepted.
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        let (raw, text) = yaml::read::<Raw>(path)?;
        Self::validate(path, raw, &text).map_err(|error| error.located(&text))
    }

    fn validate(path: &Path, raw: Raw, text: &str) -> Result<Self, ConfigError> {
        let error = |field: &str, value: &dyn ToString, problem: &str| {
            Err(ConfigError::field(path, field, value.to_string(), problem))
        };
        if raw.version != VERSION {
            return error(
                "version",
                &raw.version,
                "this program reads version 1: measure again with `privynet profile`",
            );
        }
        if raw.splits.is_empty() {
            return error("splits", &"{}", "a profile times at least one split: measure one with `privynet profile`");
        }
        let mut splits = BTreeMap::new();
        for (name, knots) in raw.splits {
            let field = format!("splits.{name}");
            if let Some((depth, spread)) = knots.iter().find(|(_, spread)| spread.median.0 == 0) {
                return error(&format!("{field}.{depth}.median"), &spread.median, "no local net takes no time");
            }
            if knots.contains_key(&0) {
                return error(&field, &"0 channels", "a local net keeps one channel at least");
            }
            match LatencyCurve::new(knots) {
                Some(curve) => splits.insert(name, curve),
                None => return error(&field, &"{}", "give the latency of at least one number of channels"),
            };
        }
        let Raw { program, machine, architecture, structure, image_side, .. } = raw;
        Ok(Self {
            path: path.to_owned(),
            text: text.to_owned(),
            program,
            machine,
            architecture,
            structure,
            image_side,
            splits,
        })
    }

    /// That it is one of this net at work on images of this side; `space` is the file that names them.
    ///
    /// # Errors
    /// [`ConfigError::Field`] with the profile's file, the field, and how to make one that fits.
    pub fn check(&self, architecture: Architecture, image_side: usize, space: &Path) -> Result<(), ConfigError> {
        let error = |field: &str, value: &dyn ToString, wanted: String| {
            let problem = format!("{} {wanted}: {}", space.display(), remedy(space));
            Err(ConfigError::field(&self.path, field, value.to_string(), problem).located(&self.text))
        };
        if self.architecture != architecture.name() {
            return error("architecture", &self.architecture, format!("is about {architecture}"));
        }
        if self.image_side != image_side {
            return error("image_side", &self.image_side, format!("has images of {image_side}×{image_side} px"));
        }
        match architecture.fingerprint(image_side) {
            Ok(structure) if structure == self.structure => Ok(()),
            Ok(structure) => {
                error("structure", &self.structure, format!("names a net of another structure, {structure}"))
            }
            Err(source) => error("structure", &self.structure, format!("names a net that can't be told ({source})")),
        }
    }

    /// What an image takes where `depth` channels of `split` are kept; `space` is the file that has such a design.
    ///
    /// # Errors
    /// [`ConfigError::Field`] where the profile lacks the split, or was measured with fewer channels only.
    pub fn latency(&self, split: &str, depth: usize, space: &Path) -> Result<Latency, ConfigError> {
        let error = |value: String| {
            let problem = format!("{} has {depth} channels there: {}", space.display(), remedy(space));
            ConfigError::field(&self.path, format!("splits.{split}"), value, problem).located(&self.text)
        };
        let curve = self.splits.get(split).ok_or_else(|| error("was not measured".to_owned()))?;
        curve.at(depth).ok_or_else(|| error(format!("was measured with up to {} channels", curve.deepest())))
    }

    /// The file's text.
    pub fn render(&self) -> String {
        let quoted = |text: &str| format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', " "));
        let MachineEntry { arch, os, cpu, threads } = &self.machine;
        let cpu = cpu.as_ref().map(|cpu| format!(", cpu: {}", quoted(cpu))).unwrap_or_default();
        let mut text = format!(
            "# What local nets of {name} take on one device for one image of {side}×{side} px: from the net's input to its features,\n\
             # image after image. Written by `privynet profile`; a budget counts on it by `latency: {{max: 5 ms, profile: FILE}}`.\n\
             version: {VERSION}\n\
             program: {program}\n\
             machine: {{arch: {arch}, os: {os}{cpu}, threads: {threads}}}\n\
             architecture: {architecture}\n\
             structure: {structure}   # of the net's operations and shapes at this side\n\
             image_side: {side}\n\n\
             # Of each split layer, the whole local net by the number of channels that it keeps.\n\
             splits:\n",
            name = self.architecture,
            side = self.image_side,
            program = quoted(&self.program),
            architecture = quoted(&self.architecture),
            structure = quoted(&self.structure),
        );
        for (split, curve) in &self.splits {
            // Writing to a string can't fail.
            let _ = writeln!(text, "  {}:", quoted(split));
            for (depth, SpreadEntry { median, p95 }) in curve.knots() {
                let _ = writeln!(text, "    {depth}: {{median: {median}, p95: {p95}}}");
            }
        }
        text
    }
}

/// How to make a profile that fits a space.
fn remedy(space: &Path) -> String {
    format!("on the device, run `privynet profile --space {} --out FILE`, and name that file", space.display())
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "version: 1\nprogram: privynet 0.1.0\nmachine: {arch: aarch64, os: linux, cpu: \"A \\\"72\\\"\", threads: 1}\n\
        architecture: vgg16\nstructure: \"00ff\"\nimage_side: 32\nsplits:\n  conv2_1:\n    4: {median: 800 us, p95: 1 ms}\n    \
        16: {median: 2 ms, p95: 2.5 ms}\n";

    fn read(text: &str) -> Result<ProfileFile, ConfigError> {
        let path = Path::new("device.yaml");
        ProfileFile::validate(path, yaml::parse(path, text)?, text).map_err(|error| error.located(text))
    }

    #[test]
    fn what_is_written_is_read() {
        let profile = read(GOOD).unwrap();
        assert_eq!(profile.machine.cpu.as_deref(), Some("A \"72\""));
        assert_eq!(profile.latency("conv2_1", 10, Path::new("s")).unwrap(), Latency(1_400_000));
        let again = read(&profile.render()).unwrap();
        assert_eq!(ProfileFile { text: String::new(), ..again }, ProfileFile { text: String::new(), ..profile });
    }

    #[test]
    fn bad_profiles_name_line_field_value_and_remedy() {
        for (from, to, expected) in [
            ("version: 1", "version: 2", vec!["version: 2", "measure again"]),
            ("image_side", "side", vec!["device.yaml:6", "unknown field `side`", "`image_side`"]),
            ("threads: 1", "threads: 1, gpu: no", vec!["device.yaml:3", "unknown field `gpu`"]),
            ("800 us", "800", vec!["device.yaml:9", "`800` has no unit", "5 ms"]),
            ("800 us", "0 us", vec!["splits.conv2_1.4.median", "no time"]),
            ("800 us, p95: 1 ms", "800 us", vec!["missing field `p95`"]),
            ("    4:", "    0:", vec!["splits.conv2_1", "0 channels"]),
            ("    4:", "    -4:", vec!["device.yaml:9", "-4"]),
        ] {
            let text = read(&GOOD.replace(from, to)).unwrap_err().to_string();
            for part in expected {
                assert!(text.contains(part), "{to}: `{text}` lacks `{part}`");
            }
        }
    }

    #[test]
    fn profiles_of_something_else_are_refused() {
        let vgg16 = Architecture::vgg16();
        let good = ProfileFile { structure: vgg16.fingerprint(32).unwrap(), ..read(GOOD).unwrap() };
        let space = Path::new("my/space.yaml");
        good.check(vgg16, 32, space).unwrap();
        let refused = |profile: &ProfileFile, architecture, side, parts: &[&str]| {
            let text = profile.check(architecture, side, space).unwrap_err().to_string();
            for part in parts.iter().chain(&["device.yaml:", "privynet profile --space my/space.yaml"]) {
                assert!(text.contains(part), "`{text}` lacks `{part}`");
            }
        };
        refused(&good, Architecture::known("resnet18").unwrap(), 32, &["architecture: vgg16", "resnet18"]);
        refused(&good, vgg16, 64, &["image_side: 32", "64×64 px"]);
        refused(&read(GOOD).unwrap(), vgg16, 32, &["structure: 00ff", "another structure"]);
        let missing = good.latency("conv2_2", 4, space).unwrap_err().to_string();
        assert!(missing.contains("splits.conv2_2: was not measured") && missing.contains("--space my"), "{missing}");
        let beyond = good.latency("conv2_1", 17, space).unwrap_err().to_string();
        assert!(beyond.contains("up to 16 channels") && beyond.contains("17 channels there"), "{beyond}");
    }
}
