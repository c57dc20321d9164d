//! The parsers, each as a user reaches it.

use std::path::{Path, PathBuf};

use clap::Parser;
use privynet::app;
use privynet::backbone::{Architecture, Backbone, BackboneFile};
use privynet::cli::Cli;
use privynet::config::{BudgetFile, ProfileFile, ReplayFile, SpaceFile};
use privynet::data::{
    ArrayNames, CifarLabels, Division, Duplicates, Fit, PartsSpec, Resize, Source, Split, load, read_rgb,
};
use privynet::estimate::Gallery;
use privynet::export::{Package, decode_cloud_net};
use privynet::measurement::DesignId;
use privynet::nn::{NetSpec, Shape};
use privynet::record::Record;
use privynet::space::Selection;
use privynet::store::StudyReader;
use privynet::table::Table;
use privynet::units::{Bytes, Decibel, Duration, Latency, Macs};
use privynet::{onnx, table};

use super::seeds;

/// What runs one input.
pub type Parse = Box<dyn FnMut(&[u8])>;

/// A parser under test.
pub struct Target {
    pub name: &'static str,
    /// Valid inputs.
    pub seeds: fn() -> Vec<Vec<u8>>,
    /// What its files are made of.
    pub words: &'static [&'static str],
    /// What runs one input, with a folder to itself.
    pub start: fn(&Path) -> Parse,
}

const JSON: &[&str] =
    &["null", "true", "[]", "{}", "-1", "1e308", "\"\"", "[[", "{\"a\":", ",", "\"verified\"", "\"set\""];
const YAML: &[&str] = &[
    "*a",
    "&a ",
    "<<: *a",
    "- ",
    "? ",
    "|\n",
    ">-\n",
    "!!binary ",
    "{}",
    "[",
    "]",
    "~",
    "---\n",
    "...\n",
    "\t",
    "'",
    "\"",
    ": ",
    "1e400 dB",
    "max:",
    "random:",
    "per_class:",
];
const ONNX: &[&str] = &[
    "Conv",
    "Add",
    "Mul",
    "Concat",
    "Identity",
    "Reshape",
    "Slice",
    "Gather",
    "MaxPool",
    "Pad",
    "Constant",
    "DequantizeLinear",
];
const NUMPY: &[&str] =
    &["'descr'", "'shape'", "<f4", ">f8", "|u1", "<i8", "(1,)", "(99999999999,", "True", "6, 16, 16, 3"];

/// All parsers.
pub fn all() -> Vec<Target> {
    vec![
        Target { name: "onnx", seeds: || seeds::files("tests/onnx", "onnx", 1 << 16), words: ONNX, start: start_onnx },
        Target { name: "safetensors", seeds: weights, words: JSON, start: start_weights },
        Target { name: "cloud-net", seeds: cloud_net, words: JSON, start: start_cloud_net },
        Target { name: "int8", seeds: || vec![vec![0; 4 * 1792], vec![1; 9]], words: &[], start: start_int8 },
        Target { name: "idx", seeds: idx, words: &[], start: start_idx },
        Target { name: "cifar", seeds: cifar, words: &[], start: start_cifar },
        Target { name: "npy", seeds: npy, words: NUMPY, start: start_npy },
        Target { name: "npz", seeds: npz, words: NUMPY, start: start_npz },
        Target {
            name: "parquet",
            seeds: || seeds::files("tests/data", "parquet", 1 << 16),
            words: &["PAR1"],
            start: start_parquet,
        },
        Target { name: "image", seeds: images, words: &["IHDR", "IDAT", "VP8X", "VP8L", "\u{7f}"], start: start_image },
        Target {
            name: "budget",
            seeds: budgets,
            words: YAML,
            start: |dir| named(dir, "b.yaml", |p| drop(BudgetFile::read(p))),
        },
        Target { name: "space", seeds: spaces, words: YAML, start: start_space },
        Target {
            name: "profile",
            seeds: profiles,
            words: YAML,
            start: |dir| named(dir, "p.yaml", |p| drop(ProfileFile::read(p))),
        },
        Target {
            name: "replay",
            seeds: replays,
            words: YAML,
            start: |dir| named(dir, "r.yaml", |p| drop(ReplayFile::read(p))),
        },
        Target {
            name: "csv",
            seeds: csv,
            words: &[",", "\"", "\r\n", "nan", "inf"],
            start: |dir| named(dir, "t.csv", table),
        },
        Target { name: "table", seeds: tables, words: &["PAR1"], start: |dir| named(dir, "t.parquet", table) },
        Target { name: "study", seeds: study, words: JSON, start: start_study },
        Target { name: "conclusion", seeds: conclusion, words: JSON, start: start_conclusion },
        Target { name: "package", seeds: package, words: JSON, start: start_package },
        Target {
            name: "words",
            seeds: words,
            words: &["MMAC", "KiB", "dB", "ms", "+", "balanced-", "1e309"],
            start: |_| Box::new(text),
        },
    ]
}

/// A parser of a file that is named.
fn named(folder: &Path, name: &str, parse: fn(&Path)) -> Parse {
    let path = folder.join(name);
    Box::new(move |bytes| {
        write(&path, bytes);
        parse(&path);
    })
}

fn write(path: &Path, bytes: &[u8]) {
    std::fs::write(path, bytes).expect("the folder for temporary files can be written");
}

fn start_onnx(_: &Path) -> Parse {
    Box::new(|bytes| {
        if let Ok(imported) = onnx::import(bytes) {
            let [height, width] = imported.size.unwrap_or([32, 32]);
            let _ = imported.graph.cost(height.min(64), width.min(64));
            imported.graph.cuts();
        }
    })
}

fn weights() -> Vec<Vec<u8>> {
    vec![seeds::safetensors(&[("conv1_1.weight", &[64, 3, 3, 3]), ("conv1_1.bias", &[64])])]
}

fn start_weights(folder: &Path) -> Parse {
    let path = folder.join("w.safetensors");
    Box::new(move |bytes| {
        write(&path, bytes);
        let _ = Backbone::load(&BackboneFile::known("vgg16", &path), "conv1_1");
    })
}

/// A cloud net for few features.
fn spec() -> NetSpec {
    NetSpec::reference_classifier(Shape::new(4, 4, 1), 2).expect("such a net exists")
}

fn cloud_net() -> Vec<Vec<u8>> {
    let shapes = spec().param_shapes();
    let mut tensors: Vec<(&str, &[usize])> =
        shapes.iter().map(|shape| (shape.name.as_str(), shape.dims.as_slice())).collect();
    tensors.extend([("input.mean", &[1][..]), ("input.inverse_sd", &[1][..])]);
    vec![seeds::safetensors(&tensors)]
}

fn start_cloud_net(_: &Path) -> Parse {
    let spec = spec();
    Box::new(move |bytes| {
        if let Ok((params, [mean, inverse_sd])) = decode_cloud_net(bytes, &spec) {
            let _ = onnx::cloud_net(&spec, &params, &mean, &inverse_sd, &[]);
        }
    })
}

fn start_int8(_: &Path) -> Parse {
    let vgg16 = Architecture::vgg16();
    let layer = vgg16.layer("conv1_1").expect("VGG-16 has the layer");
    Box::new(move |bytes| drop(Backbone::from_numbers(vgg16, layer, bytes)))
}

/// Two images of each part from one source.
fn read(source: Source, resize: Option<Resize>) {
    let split = Split { training: 2, validation: 2, evaluation: 2, seed: 1 };
    let pad_to = resize.is_none().then_some(16);
    let division = Division::Drawn { whole: source, split };
    let _ = load(&PartsSpec { division, resize, pad_to, class_names: None, duplicates: Duplicates::Drop });
}

/// A source of two files, of which one stays; the first byte of an input says which it is.
fn pair(folder: &Path, good: [Vec<u8>; 2], names: [&str; 2], source: fn([PathBuf; 2]) -> Source) -> Parse {
    let paths = names.map(|name| folder.join(name));
    Box::new(move |bytes| {
        let Some((&tag, bytes)) = bytes.split_first() else { return };
        let changed = usize::from(tag % 2);
        write(&paths[changed], bytes);
        write(&paths[1 - changed], &good[1 - changed]);
        read(source(paths.clone()), None);
    })
}

fn idx_pair() -> [Vec<u8>; 2] {
    [seeds::idx(&[6, 4, 4], &seeds::pixels(1)), seeds::idx(&[6], &seeds::LABELS)]
}

fn idx() -> Vec<Vec<u8>> {
    let [images, labels] = idx_pair();
    let packed = seeds::gzip(&images);
    [seeds::tagged(0, vec![images, packed]), seeds::tagged(1, vec![labels])].concat()
}

fn start_idx(folder: &Path) -> Parse {
    pair(folder, idx_pair(), ["i", "l"], |[images, labels]| Source::Idx { images, labels })
}

fn npy_pair() -> [Vec<u8>; 2] {
    [seeds::npy("|u1", "6, 4, 4, 3", &seeds::pixels(3)), seeds::npy("|u1", "6,", &seeds::LABELS)]
}

fn npy() -> Vec<Vec<u8>> {
    let [images, labels] = npy_pair();
    let floats: Vec<u8> = seeds::pixels(1).iter().flat_map(|&byte| (f32::from(byte) / 255.0).to_le_bytes()).collect();
    let long: Vec<u8> = seeds::LABELS.iter().flat_map(|&label| i64::from(label).to_be_bytes()).collect();
    let images = vec![images, seeds::npy("<f4", "6, 1, 4, 4", &floats)];
    [seeds::tagged(0, images), seeds::tagged(1, vec![labels, seeds::npy(">i8", "6, 1", &long)])].concat()
}

fn start_npy(folder: &Path) -> Parse {
    pair(folder, npy_pair(), ["x.npy", "y.npy"], |[images, labels]| Source::Npy { images, labels })
}

fn npz() -> Vec<Vec<u8>> {
    let [images, labels] = npy_pair();
    let arrays = [("x", images), ("y", labels)];
    vec![seeds::npz(&arrays, false), seeds::npz(&arrays, true)]
}

fn start_npz(folder: &Path) -> Parse {
    let path = folder.join("a.npz");
    Box::new(move |bytes| {
        write(&path, bytes);
        read(Source::Npz { file: path.clone(), arrays: None }, None);
        let arrays = ArrayNames { images: "x".to_owned(), labels: "z".to_owned() };
        read(Source::Npz { file: path.clone(), arrays: Some(arrays) }, None);
    })
}

fn cifar() -> Vec<Vec<u8>> {
    let row = |label: u8| [vec![label], (0..3072).map(|value| (value + usize::from(label)) as u8).collect()].concat();
    let rows: Vec<u8> = seeds::LABELS.into_iter().flat_map(row).collect();
    let names = "a\nb\nc\nd\ne\nf\ng\nh\ni\nj\n";
    [seeds::tagged(0, vec![rows]), seeds::tagged(1, vec![names.into()])].concat()
}

fn start_cifar(folder: &Path) -> Parse {
    let good = cifar().into_iter().map(|tagged| tagged[1..].to_vec()).collect::<Vec<_>>();
    pair(folder, [good[0].clone(), good[1].clone()], ["a.bin", "batches.meta.txt"], |[images, _]| Source::Cifar {
        files: vec![images],
        labels: CifarLabels::Ten,
    })
}

fn start_parquet(folder: &Path) -> Parse {
    let path = folder.join("a.parquet");
    Box::new(move |bytes| {
        write(&path, bytes);
        let (image_column, label_column) = ("image".to_owned(), "label".to_owned());
        let source = Source::Parquet { files: vec![path.clone()], image_column, label_column };
        read(source, Some(Resize { to: 16, fit: Fit::Crop }));
    })
}

fn images() -> Vec<Vec<u8>> {
    let formats = [image::ImageFormat::Png, image::ImageFormat::Jpeg, image::ImageFormat::WebP];
    formats.into_iter().flat_map(|format| [seeds::image(16, 16, format), seeds::image(19, 33, format)]).collect()
}

fn start_image(folder: &Path) -> Parse {
    let path = folder.join("a.png");
    Box::new(move |bytes| {
        write(&path, bytes);
        // A damaged image is refused; that it is can't depend on what is made of it.
        let whole = read_rgb(&path, None);
        if whole.is_ok_and(|image| image.width.max(image.height) < 4096) {
            let _ = read_rgb(&path, Some(Resize { to: 16, fit: Fit::Stretch }));
        }
        let _ = read_rgb(&path, Some(Resize { to: 32, fit: Fit::Crop }));
    })
}

fn budgets() -> Vec<Vec<u8>> {
    ["budget.yaml", "tight.yaml", "loose.yaml"]
        .map(|name| seeds::file(&format!("spaces/fashion-mnist-vgg16/{name}")))
        .to_vec()
}

fn spaces() -> Vec<Vec<u8>> {
    vec![
        seeds::file("spaces/fashion-mnist-vgg16/space.yaml"),
        seeds::file("spaces/cifar10-vgg16/space.yaml"),
        seeds::file("spaces/cifar10-vgg16/table.yaml"),
    ]
}

fn start_space(folder: &Path) -> Parse {
    let path = folder.join("s.yaml");
    Box::new(move |bytes| {
        write(&path, bytes);
        let _ = SpaceFile::read(&path, None, None);
    })
}

fn profiles() -> Vec<Vec<u8>> {
    vec![seeds::file("spaces/fashion-mnist-vgg16/device.yaml")]
}

fn replays() -> Vec<Vec<u8>> {
    seeds::files("spaces/cifar10-vgg16/table", "yaml", 1 << 16)
}

fn csv() -> Vec<Vec<u8>> {
    vec![
        b"split, depth ,psnr\nconv1_1,4,20.5\nconv1_2,8,\nconv1_1,16,1e1\n".to_vec(),
        b"a\n007\n8\nx\n\"9\n\"\n".to_vec(),
    ]
}

fn table(path: &Path) {
    if let Ok(table) = Table::read(path) {
        for name in ["split", "depth", "psnr", "a"] {
            let _ = (table.numbers(name), table.labels(name), table.categories(name));
        }
    }
}

fn tables() -> Vec<Vec<u8>> {
    let columns = vec![
        ("split".to_owned(), table::Values::Text(vec!["a".into(), "b".into()])),
        ("depth".to_owned(), table::Values::Real(vec![1.5, -2.0])),
    ];
    let made = Table::new(Path::new("t.parquet"), columns).map(|table| table.to_parquet().unwrap_or_default());
    vec![
        made.unwrap_or_default(),
        seeds::file("results/example/measurements.parquet"),
        seeds::file("tests/data/bytes.parquet"),
    ]
}

/// 0: the header; 1: the journal's bytes; 2: its events, to be given their checksums.
fn study() -> Vec<Vec<u8>> {
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

fn start_study(folder: &Path) -> Parse {
    let (header, journal) = (seeds::file("results/example/study.json"), seeds::file("results/example/journal.jsonl"));
    let first = journal.split_inclusive(|&byte| byte == b'\n').next().unwrap_or_default().to_vec();
    let fingerprint = serde_json::from_slice::<privynet::store::Header>(&header).map(|header| header.fingerprint());
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
fn conclusion() -> Vec<Vec<u8>> {
    [seeds::tagged(0, seeds::conclusions()), seeds::tagged(1, vec![seeds::gallery()])].concat()
}

const GALLERY: &str = "gallery-conv3_1-4-dbcdcab1-quick_verification-1000004.json";

fn start_conclusion(folder: &Path) -> Parse {
    let results = folder.join("results");
    let dir = results.join("s");
    std::fs::create_dir_all(dir.join("blobs")).expect("the folder for temporary files can be written");
    for name in ["study.json", "journal.jsonl"] {
        write(&dir.join(name), &seeds::file(&format!("results/example/{name}")));
    }
    let reports = folder.join("reports");
    let command = |name: &str| {
        let folders =
            ["--results", results.to_str().unwrap_or_default(), "--reports", reports.to_str().unwrap_or_default()];
        let words = ["privynet", name, "s", "--quiet"].into_iter().chain(folders).map(str::to_owned);
        words.collect::<Vec<String>>()
    };
    let report = command("report");
    let (good, gallery) = (seeds::conclusions().swap_remove(0), seeds::gallery());
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
fn package() -> Vec<Vec<u8>> {
    let nets = seeds::files("tests/onnx", "onnx", 1 << 12);
    [seeds::tagged(0, vec![seeds::manifest()]), seeds::tagged(1, nets)].concat()
}

fn start_package(folder: &Path) -> Parse {
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

fn words() -> Vec<Vec<u8>> {
    ["30 MMAC", "16 KiB", "24.5 dB", "5 ms", "10 min", "conv3_1-4-dbcdcab1", "balanced-0.5", "mixed-relu-1"]
        .map(|text| text.as_bytes().to_vec())
        .to_vec()
}

fn text(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let _ = text.parse::<Macs>().map(|value| value.to_string());
    let _ = text.parse::<Bytes>().map(|value| value.to_string());
    let _ = text.parse::<Decibel>().map(|value| value.to_string());
    let _ = text.parse::<Latency>().map(|value| value.to_string());
    let _ = text.parse::<Duration>().map(|value| value.to_string());
    let _ = text.parse::<DesignId>().map(|value| value.to_string());
    let _ = text.parse::<Selection>().map(|value| value.to_string());
}
