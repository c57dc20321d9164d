//! The parsers, each as a user reaches it.

use std::path::{Path, PathBuf};

use privynet::backbone::{Architecture, Backbone, BackboneFile};
use privynet::config::{BudgetFile, ProfileFile, ReplayFile, SpaceFile};
use privynet::data::{
    ArrayNames, CifarLabels, Division, Duplicates, Fit, PartsSpec, Resize, Source, Split, load, read_rgb,
};
use privynet::export::decode_cloud_net;
use privynet::measurement::DesignId;
use privynet::nn::{NetSpec, Shape};
use privynet::space::Selection;
use privynet::table::Table;
use privynet::units::{Bytes, Decibel, Duration, Latency, Macs};
use privynet::{onnx, table};

use super::{seeds, written};

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
        Target { name: "study", seeds: written::study, words: JSON, start: written::start_study },
        Target { name: "conclusion", seeds: written::conclusion, words: JSON, start: written::start_conclusion },
        Target { name: "package", seeds: written::package, words: JSON, start: written::start_package },
        Target { name: "batch", seeds: written::batch, words: JSON, start: written::start_batch },
        Target { name: "part", seeds: written::part, words: JSON, start: written::start_part },
        Target { name: "features", seeds: written::features, words: &["PNFEATUR"], start: written::start_features },
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

pub fn write(path: &Path, bytes: &[u8]) {
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
