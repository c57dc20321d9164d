//! `privynet export` and `privynet features`: the deployable package, written and used.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::read_study::{folder, open};
use super::{AppError, Output, exit};
use crate::backbone::Backbone;
use crate::cli::{ExportArgs, FeaturesArgs};
use crate::config::WeightsPrecision;
use crate::exec::cloud_net_name;
use crate::export::{
    self, CloudNetFiles, CloudNetRecord, MANIFEST_VERSION, Manifest, Package, Preprocessing, SelfTest,
};
use crate::measurement::Metric;
use crate::nn::{NetSpec, Shape};
use crate::onnx;
use crate::record::Record;
use crate::search::Status;
use crate::store::{Event, StudyReader};
use crate::verify::Verdict;

/// The backbone's weights in eight bits, among a study's files, by the hash of those that they were made of.
pub(super) fn quantised_name(weights_read: blake3::Hash) -> String {
    format!("backbone-{}.int8", &weights_read.to_hex()[..16])
}

/// What the verified figures are about.
fn threat_model(record: &Record) -> String {
    let attacker = record.budgets.attacker.describe(record.provenance.images[0]);
    format!(
        "{attacker} Figures are of the strongest of his attacks, on images that no training saw. An attacker with more pairs or a \
         larger decoder may recover more. Upper limits allow for sixteen times the training and for the draw of the images; they \
         hold for images like the evaluation images, of the same size and padding."
    )
}

pub(super) fn export(args: &ExportArgs, output: Output) -> Result<u8, AppError> {
    let dir = folder(&args.study, &args.folders)?;
    let (reader, record) = open(&dir)?;
    let problem = |problem: String| AppError::Study { path: dir.clone(), problem };
    let chosen = record
        .chosen_design()
        .ok_or_else(|| problem("has no chosen design: its budget can't be met, loosen it".to_owned()))?;
    if record.status != Status::Verified && !args.allow_unverified {
        return Err(problem(format!(
            "its design {} is not verified; `--allow-unverified` exports it all the same, and the manifest will say so",
            chosen.id
        )));
    }
    let weights = match &args.weights {
        Some(path) => path.clone(),
        None => record.provenance.weights_file.clone().into(),
    };
    let backbone = backbone(&reader, &record, weights, &chosen.design.split)?;
    let verdict = record.chosen_verdict();
    let trained = verdict.and_then(|verdict| cloud_net(&reader, verdict));
    let cloud_weights = match &trained {
        Some((name, _)) => reader.load_blob(name)?,
        None => None,
    };
    let layer = backbone.layer(&chosen.design.split)?;
    let p = &record.provenance;
    let architecture = backbone.architecture();
    let side = architecture.shape(layer, p.image_side)?.side;
    let preprocess = architecture.preprocess();
    let feature_shape = [chosen.design.channels.depth(), side, side];
    let cloud_net = cloud_weights.as_deref().map(|weights| cloud_onnx(&record, weights, feature_shape)).transpose()?;
    let manifest = Manifest {
        version: MANIFEST_VERSION,
        privynet: p.version.clone(),
        study: record.study.clone(),
        status: record.status,
        architecture: p.architecture.clone(),
        id: chosen.id.to_string(),
        design: chosen.design.clone(),
        selection: chosen.selection.clone(),
        preprocessing: Preprocessing {
            resize: p.resize,
            side: p.image_side,
            content: p.content,
            scale: preprocess.scale,
            shift: preprocess.shift,
        },
        weights_precision: p.precision.weights,
        features_precision: p.precision.features,
        feature_shape,
        cost: chosen.cost,
        classes: p.classes.clone(),
        claims: verdict.map(export::claims).unwrap_or_default(),
        converged: verdict.is_some_and(|v| v.converged),
        objections: verdict.map(|v| v.objections.clone()).unwrap_or_default(),
        cloud_net: trained.filter(|_| cloud_net.is_some()).map(|(_, net)| net),
        confidence: record.budgets.confidence,
        attacker: record.budgets.attacker,
        threat_model: threat_model(&record),
        protocol: verdict.map(|v| v.fidelity.to_string()),
        seeds: verdict.map(|v| v.seeds.clone()).unwrap_or_default(),
        weights_hash: backbone.hash_through(layer).to_hex().to_string(),
        data_hash: p.data_hash.clone(),
        local_net_hash: String::new(),
    };
    let files =
        cloud_net.as_deref().zip(cloud_weights.as_deref()).map(|(onnx, weights)| CloudNetFiles { onnx, weights });
    let local_net = backbone.local(layer, &chosen.design.channels)?;
    let manifest = export::write(&args.out, manifest, &local_net, files)?;
    let test = match export::self_test(&args.out, &backbone) {
        Ok(test) => test,
        Err(error) => {
            export::withdraw(&args.out)?;
            return Err(error.into());
        }
    };
    output.summary("package", || object(&args.out, &manifest, &test), || text(&args.out, &manifest, &test));
    Ok(exit::DONE)
}

/// What was written, for programs.
fn object(out: &Path, manifest: &Manifest, test: &SelfTest) -> Value {
    let cloud_net = manifest.cloud_net.as_ref();
    json!({
        "package": out,
        "study": manifest.study,
        "status": manifest.status,
        "design": manifest.id,
        "split": manifest.design.split,
        "depth": manifest.feature_shape[0],
        "selection": manifest.selection,
        "self_test": { "images": test.images, "from_study": test.from_study, "from_runtime": test.from_runtime },
        "cloud_net": cloud_net.map(|net| json!({ "seed": net.seed, "accuracy": net.accuracy, "std_error": net.std_error })),
    })
}

/// What was written, for people.
fn text(out: &Path, manifest: &Manifest, test: &SelfTest) -> String {
    let verified = if manifest.status == Status::Verified { "verified" } else { "NOT VERIFIED" };
    let cloud_net = match &manifest.cloud_net {
        Some(net) => {
            format!("with the cloud net of seed {}, accuracy {:.3} ± {:.3}", net.seed, net.accuracy, net.std_error)
        }
        None => {
            "without a cloud net: verification trains it, and the study's folder holds none of this design".to_owned()
        }
    };
    format!(
        "{}: {} ({}, {} channels), {verified}\n  self-test: on {} images local_net.onnx equals the study within {:.1e}, and an ONNX \
         runtime (tract) equals it within {:.1e}, of the largest feature\n  {cloud_net}",
        out.display(),
        manifest.id,
        manifest.design.split,
        manifest.feature_shape[0],
        test.images,
        test.from_study,
        test.from_runtime
    )
}

/// The verification's first cloud net: its file in the study, and what was measured of it.
fn cloud_net(reader: &StudyReader, verdict: &Verdict) -> Option<(String, CloudNetRecord)> {
    let &seed = verdict.seeds.first()?;
    let measured = reader.events().iter().find_map(|event| match event {
        Event::Evaluation(e) if (&e.design, e.fidelity, e.seed) == (&verdict.design, verdict.fidelity, seed) => {
            e.measurements().iter().find(|row| row.metric == Metric::Accuracy).cloned()
        }
        _ => None,
    })?;
    let record = CloudNetRecord { seed, accuracy: measured.value, std_error: measured.std_error };
    Some((cloud_net_name(&verdict.design, verdict.fidelity, seed), record))
}

/// The study's weights, at the precision that was measured.
fn backbone(reader: &StudyReader, record: &Record, path: PathBuf, split: &str) -> Result<Backbone, AppError> {
    let deepest = record.provenance.deepest_layer.as_str();
    let loaded = Backbone::load(&record.provenance.backbone_file(path.clone()), deepest)?;
    let backbone = match record.provenance.precision.weights {
        WeightsPrecision::F16 => loaded.rounded_to_half()?,
        WeightsPrecision::F32 => loaded,
        WeightsPrecision::Int8 => {
            let quantised = reader.load_blob(&quantised_name(loaded.hash()))?.unwrap_or_default();
            Backbone::from_numbers(loaded.architecture(), loaded.layer(deepest)?, &quantised)?
        }
    };
    if backbone.hash().to_hex().as_str() != record.provenance.weights_hash {
        return Err(AppError::Flag {
            flag: "weights",
            value: path.display().to_string(),
            problem: format!("these are not the weights that the study measured {split} with"),
        });
    }
    Ok(backbone)
}

/// The study's cloud net as an ONNX file.
fn cloud_onnx(record: &Record, weights: &[u8], [channels, rows, columns]: [usize; 3]) -> Result<Vec<u8>, AppError> {
    let spec = NetSpec::reference_classifier(Shape::new(rows, columns, channels), record.provenance.classes.len())?;
    let unreadable = |error: safetensors::SafeTensorError| export::ExportError::Format {
        path: export::CLOUD_WEIGHTS_FILE.into(),
        problem: format!("the study's cloud net can't be read ({error}): run `privynet optimize` again"),
    };
    let (params, [mean, inverse_sd]) = export::decode_cloud_net(weights, &spec).map_err(unreadable)?;
    let metadata =
        [("study".to_owned(), record.study.clone()), ("classes".to_owned(), record.provenance.classes.join("\n"))];
    Ok(onnx::cloud_net(&spec, &params, &mean, &inverse_sd, &metadata).map_err(export::ExportError::from)?)
}

pub(super) fn features(args: &FeaturesArgs, output: Output) -> Result<u8, AppError> {
    let mut package = Package::open(&args.package)?;
    if let Some(out) = &args.out {
        std::fs::create_dir_all(out).map_err(|source| export::ExportError::Io {
            action: "written",
            path: out.clone(),
            source,
        })?;
    }
    let mut written: HashMap<PathBuf, &PathBuf> = HashMap::new();
    for image in &args.images {
        let path = export::features_path(image, args.out.as_deref());
        if let Some(first) = written.insert(path.clone(), image) {
            let problem =
                format!("its features would overwrite those of {}: both go to {}", first.display(), path.display());
            return Err(export::ExportError::Image { path: image.clone(), problem }.into());
        }
    }
    for image in &args.images {
        let rgb = package.read_image(image)?;
        let features = package.features(&rgb)?;
        let manifest = package.manifest();
        let [channels, rows, columns] = manifest.feature_shape;
        let bytes = export::npy(&features, manifest.feature_shape, manifest.features_precision);
        let path = export::features_path(image, args.out.as_deref());
        std::fs::write(&path, bytes).map_err(|source| export::ExportError::Io {
            action: "written",
            path: path.clone(),
            source,
        })?;
        let mean = features.iter().sum::<f32>() / features.len().max(1) as f32;
        let largest = features.iter().copied().fold(0f32, f32::max);
        output.summary(
            "features",
            || json!({ "image": image, "features": path, "shape": manifest.feature_shape, "mean": mean, "largest": largest }),
            || format!("{}: {channels}×{rows}×{columns}, mean {mean:.3}, largest {largest:.3}", path.display()),
        );
    }
    Ok(exit::DONE)
}
