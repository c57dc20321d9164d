//! Files that the program writes for itself and reads again: a study's and an exported package's may come from others.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use clap::Parser;
use privynet::app;
use privynet::backbone::{Architecture, Backbone};
use privynet::cli::Cli;
use privynet::data::{ImageSet, Part, Region};
use privynet::estimate::Gallery;
use privynet::exec::slurm::{Batch, Folder, Setting, survey};
use privynet::exec::{Attempt, Measured, Task, gallery_name};
use privynet::export::Package;
use privynet::features::{Extraction, FeatureCache, FeatureView};
use privynet::measurement::{Fidelity, Outcome};
use privynet::nn::Device;
use privynet::onnx;
use privynet::record::Record;
use privynet::space::{ChannelChoice, Design};
use privynet::store::{Header, StudyReader};

use super::seeds;
use super::targets::{Parse, write};

/// 0: the header; 1: the journal's bytes; 2: its events, to be given their checksums.
pub fn study() -> Vec<Vec<u8>> {
    let header = seeds::tagged(0, vec![seeds::file("results/example/study.json")]);
    let journal = seeds::file("results/example/journal.jsonl");
    let start: Vec<u8> = journal.split_inclusive(|&byte| byte == b'\n').take(2).flatten().copied().collect();
    [header, seeds::tagged(1, vec![start]), seeds::tagged(2, seeds::events())].concat()
}

/// A line of a journal with its length and checksum.
fn framed(salt: &str, data: &[u8]) -> Vec<u8> {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&(salt.len() as u64).to_le_bytes());
    hasher.update(salt.as_bytes());
    hasher.update(data);
    let sum = &hasher.finalize().to_hex()[..16];
    [format!("{{\"sum\":\"{sum}\",\"len\":\"{:08x}\",\"data\":", data.len()).as_bytes(), data, b"}\n"].concat()
}

/// The example's journal that knows no side files: with their checksums every change of one would be damage.
fn journal_without_checksums_of_files() -> Vec<u8> {
    let journal = String::from_utf8(seeds::file("results/example/journal.jsonl")).expect("the example is text");
    let (first, rest) = journal.split_once('\n').expect("the example has lines");
    let fingerprint = serde_json::from_slice::<Header>(&seeds::file("results/example/study.json"))
        .expect("the example has a header")
        .fingerprint();
    let event = |line: &str| {
        let mut line: serde_json::Value = serde_json::from_str(line).expect("the example is JSON");
        if let Some(evaluation) = line.pointer_mut("/data/evaluation").and_then(serde_json::Value::as_object_mut) {
            evaluation.shift_remove("files");
        }
        framed(&fingerprint, line["data"].to_string().as_bytes())
    };
    let lines: Vec<u8> = rest.lines().flat_map(event).collect();
    [first.as_bytes(), b"\n", &lines].concat()
}

pub fn start_study(folder: &Path) -> Parse {
    let (header, journal) = (seeds::file("results/example/study.json"), seeds::file("results/example/journal.jsonl"));
    let first = journal.split_inclusive(|&byte| byte == b'\n').next().unwrap_or_default().to_vec();
    let fingerprint = serde_json::from_slice::<Header>(&header).map(|header| header.fingerprint());
    let fingerprint = fingerprint.expect("the example has a header");
    let dir = folder.to_owned();
    Box::new(move |bytes| {
        let Some((&tag, bytes)) = bytes.split_first() else { return };
        write(&dir.join("study.json"), if tag % 3 == 0 { bytes } else { &header });
        match tag % 3 {
            0 => write(&dir.join("journal.jsonl"), &first),
            1 => write(&dir.join("journal.jsonl"), bytes),
            _ => {
                let lines = bytes.split(|&byte| byte == b'\n').flat_map(|data| framed(&fingerprint, data));
                write(&dir.join("journal.jsonl"), &first.iter().copied().chain(lines).collect::<Vec<u8>>());
            }
        }
        let _ = StudyReader::open(&dir);
    })
}

/// 0: the conclusion; 1: the chosen design's gallery.
pub fn conclusion() -> Vec<Vec<u8>> {
    [seeds::tagged(0, seeds::conclusions()), seeds::tagged(1, vec![seeds::gallery()])].concat()
}

const GALLERY: &str = "gallery-conv3_1-4-dbcdcab1-quick_verification-1000004.json";

pub fn start_conclusion(folder: &Path) -> Parse {
    let results = folder.join("results");
    let dir = results.join("s");
    std::fs::create_dir_all(dir.join("blobs")).expect("the folder for temporary files can be written");
    write(&dir.join("study.json"), &seeds::file("results/example/study.json"));
    write(&dir.join("journal.jsonl"), &journal_without_checksums_of_files());
    let reports = folder.join("reports");
    let command = |name: &str| {
        let folders =
            ["--results", results.to_str().unwrap_or_default(), "--reports", reports.to_str().unwrap_or_default()];
        let words = ["privynet", name, "s", "--quiet"].into_iter().chain(folders).map(str::to_owned);
        words.collect::<Vec<String>>()
    };
    let report = command("report");
    let (good, gallery) = (seeds::conclusions().swap_remove(0), seeds::gallery());
    write(&dir.join("blobs/conclusion.json"), &good);
    write(&dir.join("blobs").join(GALLERY), &gallery);
    let code = Cli::try_parse_from(&report).map(app::run).expect("these are words of the program");
    assert!(matches!(code, Ok(0)), "the seed is whole: {code:?}");
    Box::new(move |bytes| {
        let Some((&tag, bytes)) = bytes.split_first() else { return };
        let (record, pictures) = if tag % 2 == 0 { (bytes, &gallery[..]) } else { (&good[..], bytes) };
        let read = serde_json::from_slice::<Record>(record).is_ok();
        if tag % 2 == 0 && !read || tag % 2 == 1 && serde_json::from_slice::<Gallery>(pictures).is_err() {
            // What the program would find, too.
            return;
        }
        write(&dir.join("blobs/conclusion.json"), record);
        write(&dir.join("blobs").join(GALLERY), pictures);
        let _ = Cli::try_parse_from(&report).map(app::run);
    })
}

/// 0: the manifest; 1: the net.
pub fn package() -> Vec<Vec<u8>> {
    let nets = seeds::files("tests/onnx", "onnx", 1 << 12);
    [seeds::tagged(0, vec![seeds::manifest()]), seeds::tagged(1, nets)].concat()
}

pub fn start_package(folder: &Path) -> Parse {
    let (manifest, net) = (seeds::manifest(), seeds::file("tests/onnx/conv.onnx"));
    let dir = folder.to_owned();
    Box::new(move |bytes| {
        let Some((&tag, bytes)) = bytes.split_first() else { return };
        let (manifest, net) = if tag % 2 == 0 { (bytes, &net[..]) } else { (&manifest[..], bytes) };
        write(&dir.join("local_net.onnx"), net);
        let Ok(mut manifest) = serde_json::from_slice::<serde_json::Value>(manifest) else { return };
        if let Some(fields) = manifest.as_object_mut() {
            fields.insert("local_net_hash".to_owned(), blake3::hash(net).to_hex().as_str().into());
            // Its features are what the net gives, whatever the net is.
            if let Some(output) = tag.checked_rem(2).filter(|odd| *odd == 1).and_then(|_| output(net)) {
                fields.insert("feature_shape".to_owned(), output.into());
            }
        }
        write(&dir.join("manifest.json"), manifest.to_string().as_bytes());
        if let Ok(mut package) = Package::open(&dir) {
            let [height, width] = package.manifest().preprocessing.content;
            if height * width <= 1 << 12 {
                let _ = package.features(&vec![128; height * width * 3]);
            }
        }
    })
}

/// The shape of a net's output for images of 8×8.
fn output(net: &[u8]) -> Option<Vec<usize>> {
    let output = onnx::import(net).ok()?.graph.cost(8, 8).ok()?.output;
    Some(vec![output.channels, output.height, output.width])
}

fn task() -> Task {
    let design = Design { split: "conv3_1".to_owned(), channels: ChannelChoice::Set(vec![0, 1, 2, 3]) };
    Task { design, fidelity: Fidelity::Quick, seed: 7, verifying: None, attempt: Attempt::default() }
}

/// A batch of a cluster's tasks.
pub fn batch() -> Vec<Vec<u8>> {
    let setting = Setting {
        study: "00".to_owned(),
        budget: "/b.yaml".into(),
        data: None,
        weights: Some("/w.safetensors".into()),
        device: "cpu".to_owned(),
        threads: 2,
        results: "/results".into(),
        feature_cache: Some(1 << 30),
        scratch: None,
    };
    let batch = Batch { token: "t".to_owned(), setting, tasks: vec![task(), task()] };
    vec![serde_json::to_vec(&batch).expect("a batch is JSON")]
}

pub fn start_batch(folder: &Path) -> Parse {
    let batches = folder.join("slurm/batches");
    std::fs::create_dir_all(&batches).expect("the folder for temporary files can be written");
    let dir = folder.to_owned();
    Box::new(move |bytes| {
        write(&batches.join("t.json"), bytes);
        let _ = survey(&dir, None).map(|survey| survey.tasks.len());
    })
}

/// What a task of a cluster measured, 0: as it was written; 1: without its length and checksum, which are made anew.
pub fn part() -> Vec<Vec<u8>> {
    let dir = tempfile::tempdir().expect("a temporary folder can be made");
    let (folder, task) = (Folder::of(dir.path()), task());
    std::fs::create_dir_all(dir.path().join("slurm/parts")).expect("the temporary folder can be written");
    let files = vec![(gallery_name(&task.design.id(), task.fidelity, task.seed), seeds::gallery())];
    let measured = Measured { outcome: Outcome::Done(Vec::new()), seconds: 1.5, files };
    folder.write_part("00", &task, &measured, "node1").expect("the temporary folder can be written");
    let path = dir.path().join(format!("slurm/parts/{}.part", task.name()));
    let whole = std::fs::read(path).expect("it was written just now");
    let line = whole.iter().position(|&byte| byte == b'\n').expect("its head is a line");
    let start = whole.windows(7).position(|word| word == b"\"data\":").expect("its head has data") + 7;
    let unsealed = [&whole[start..line - 1], &whole[line..]].concat();
    [seeds::tagged(0, vec![whole]), seeds::tagged(1, vec![unsealed])].concat()
}

pub fn start_part(folder: &Path) -> Parse {
    let (slurm, task) = (Folder::of(folder), task());
    std::fs::create_dir_all(folder.join("slurm/parts")).expect("the folder for temporary files can be written");
    let path = folder.join(format!("slurm/parts/{}.part", task.name()));
    let parse = move |bytes: &[u8]| {
        let (&tag, bytes) = bytes.split_first()?;
        if tag % 2 == 0 {
            write(&path, bytes);
        } else {
            let (head, files) = bytes.split_at(bytes.iter().position(|&byte| byte == b'\n').unwrap_or(bytes.len()));
            let files = files.get(1..).unwrap_or_default();
            write(&path, &[&framed("privynet part 00", head), files].concat());
        }
        slurm.take_part("00", &task).ok().flatten()
    };
    assert!(part().iter().all(|whole| parse(whole).is_some()), "the seeds are whole");
    Box::new(move |bytes| drop(parse(bytes)))
}

/// A few images' features of a layer.
struct Cached {
    backbone: Backbone,
    images: ImageSet,
    cache: FeatureCache,
}

const LAYER: &str = "conv1_1";

impl Cached {
    fn new(folder: &Path) -> Self {
        let vgg16 = Architecture::vgg16();
        let layer = vgg16.layer(LAYER).expect("VGG-16 has the layer");
        let numbers: Vec<u8> = (0..1792).flat_map(|at| (at as f32 / 1792.0).to_le_bytes()).collect();
        let backbone = Backbone::from_numbers(vgg16, layer, &numbers).expect("these are its numbers");
        let pixels = (0..2 * 8 * 8 * 3).map(|at| at as u8).collect();
        let images = ImageSet::new(Part::Training, 8, Region::full(8), pixels, vec![0, 1]).expect("these are images");
        Self { backbone, images, cache: FeatureCache::new(folder) }
    }

    /// Writes them where they are missing or damaged.
    fn ensure(&self) {
        let mut extraction = Extraction {
            backbone: &self.backbone,
            images: &self.images,
            layers: &[LAYER],
            device: Device::Cpu,
            interrupt: &AtomicBool::new(false),
            progress: &mut |_, _| {},
        };
        self.cache.ensure(&mut extraction).expect("the folder for temporary files can be written");
    }

    /// Reads them as they are.
    fn read(&self) {
        let Ok(features) = self.cache.open(&self.backbone, LAYER, &self.images) else { return };
        let _ = features.image(1);
        let choice = ChannelChoice::Set(vec![0, 63]);
        if let Ok(view) = FeatureView::new(Arc::new(features), &choice) {
            let _ = view.fill(&[0, 1], &mut vec![0.0; 2 * 8 * 8 * 2]);
        }
    }
}

fn feature_file(folder: &Path) -> std::path::PathBuf {
    let entries = std::fs::read_dir(folder).expect("the folder for temporary files can be listed");
    let mut paths = entries.filter_map(Result::ok).map(|entry| entry.path());
    paths.find(|path| path.extension().is_some_and(|ending| ending == "f16")).expect("features were written")
}

pub fn features() -> Vec<Vec<u8>> {
    let dir = tempfile::tempdir().expect("a temporary folder can be made");
    Cached::new(dir.path()).ensure();
    vec![std::fs::read(feature_file(dir.path())).expect("they were written just now")]
}

pub fn start_features(folder: &Path) -> Parse {
    let cached = Cached::new(folder);
    cached.ensure();
    let path = feature_file(folder);
    Box::new(move |bytes| {
        write(&path, bytes);
        cached.read();
        cached.ensure();
    })
}
