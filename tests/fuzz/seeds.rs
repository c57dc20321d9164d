//! Valid inputs to begin with.

use std::io::{Cursor, Write};
use std::path::{Path, PathBuf};

use image::{ImageFormat, RgbImage};
use serde_json::{Value, json};

/// A file of the repository.
pub fn file(path: &str) -> Vec<u8> {
    std::fs::read(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// All files of a folder of the repository with this ending, the smallest first.
pub fn files(folder: &str, ending: &str, most: usize) -> Vec<Vec<u8>> {
    let entries = std::fs::read_dir(root().join(folder)).expect("the repository's folder can be listed");
    let paths = entries.filter_map(Result::ok).map(|entry| entry.path());
    let mut found: Vec<(PathBuf, Vec<u8>)> = paths
        .filter(|path| path.extension().is_some_and(|found| found == ending))
        .filter_map(|path| Some((path.clone(), std::fs::read(path).ok()?)))
        .filter(|(_, bytes)| bytes.len() <= most)
        .collect();
    found.sort_by_key(|(path, bytes)| (bytes.len(), path.clone()));
    found.into_iter().map(|(_, bytes)| bytes).collect()
}

/// What earlier runs kept.
pub fn kept(folder: &Path) -> Vec<Vec<u8>> {
    let entries = std::fs::read_dir(folder).expect("the corpus's folder can be listed");
    let mut paths: Vec<PathBuf> = entries.filter_map(Result::ok).map(|entry| entry.path()).collect();
    paths.sort();
    paths.iter().filter_map(|path| std::fs::read(path).ok()).collect()
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// One byte before each, which says what the rest is.
pub fn tagged(tag: u8, all: Vec<Vec<u8>>) -> Vec<Vec<u8>> {
    all.into_iter().map(|bytes| [&[tag][..], &bytes].concat()).collect()
}

pub fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).expect("memory can be written");
    encoder.finish().expect("memory can be written")
}

/// An IDX file of bytes.
pub fn idx(shape: &[u32], values: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0, 0, 8, shape.len() as u8];
    shape.iter().for_each(|size| bytes.extend(size.to_be_bytes()));
    bytes.extend_from_slice(values);
    bytes
}

/// A NumPy file.
pub fn npy(descr: &str, shape: &str, values: &[u8]) -> Vec<u8> {
    let header = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': ({shape}), }}\n");
    [&b"\x93NUMPY\x01\x00"[..], &(header.len() as u16).to_le_bytes(), header.as_bytes(), values].concat()
}

/// A NumPy archive.
pub fn npz(arrays: &[(&str, Vec<u8>)], packed: bool) -> Vec<u8> {
    let mut zip = zip::ZipWriter::new(Cursor::new(Vec::new()));
    let method = if packed { zip::CompressionMethod::Deflated } else { zip::CompressionMethod::Stored };
    for (name, bytes) in arrays {
        let options = zip::write::SimpleFileOptions::default().compression_method(method);
        zip.start_file(format!("{name}.npy"), options).expect("memory can be written");
        zip.write_all(bytes).expect("memory can be written");
    }
    zip.finish().expect("memory can be written").into_inner()
}

/// Six images of 4×4 in bytes, `channels` each.
pub fn pixels(channels: usize) -> Vec<u8> {
    (0..6 * 16 * channels).map(|value| (value * 7 % 251) as u8).collect()
}

/// Labels of six images.
pub const LABELS: [u8; 6] = [0, 1, 0, 1, 0, 1];

/// An image in some format.
pub fn image(width: u32, height: u32, format: ImageFormat) -> Vec<u8> {
    let pixel = |x: u32, y: u32| image::Rgb([(7 * x + 3 * y) as u8, (5 * y + 11) as u8, (x * y) as u8]);
    let mut bytes = Cursor::new(Vec::new());
    RgbImage::from_fn(width, height, pixel).write_to(&mut bytes, format).expect("memory can be written");
    bytes.into_inner()
}

/// A safetensors file of single-precision zeros and ones.
pub fn safetensors(tensors: &[(&str, &[usize])]) -> Vec<u8> {
    let mut header = serde_json::Map::new();
    let mut data: Vec<u8> = Vec::new();
    for (name, shape) in tensors {
        let begin = data.len();
        data.extend((0..shape.iter().product::<usize>()).flat_map(|at| ((at % 2) as f32).to_le_bytes()));
        header
            .insert((*name).to_owned(), json!({ "dtype": "F32", "shape": shape, "data_offsets": [begin, data.len()] }));
    }
    let header = Value::Object(header).to_string();
    [&(header.len() as u64).to_le_bytes()[..], header.as_bytes(), &data].concat()
}

/// The example study's conclusion with its chosen design and two others, and that without its channels.
pub fn conclusions() -> Vec<Vec<u8>> {
    let mut record: Value =
        serde_json::from_slice(&file("results/example/blobs/conclusion.json")).expect("the example is JSON");
    // With its checksum every change would be damage.
    record.as_object_mut().expect("the example is an object").shift_remove("sum");
    let chosen = record["chosen"].clone();
    let designs = record["designs"].as_array_mut().expect("the example has designs");
    designs.sort_by_key(|design| (design["id"] != chosen, design["order"].is_null()));
    designs.truncate(3);
    let channels = record["channels"].clone();
    record["channels"] = Value::Null;
    record["diagnostics"] = json!([]);
    let small = record.to_string().into_bytes();
    record["channels"] = channels;
    vec![small, record.to_string().into_bytes()]
}

/// The example study's galleries, their images cut to four pixels.
pub fn gallery() -> Vec<u8> {
    let bytes: Vec<u8> = (0..12).map(|value| value * 20).collect();
    let image = |label: &str, psnr: f64| {
        json!({ "label": label, "index": 3, "psnr": psnr, "ssim": 0.5, "width": 2, "height": 2,
            "original": bytes, "reconstruction": bytes })
    };
    let images = [image("best", 30.1), image("median", 20.5), image("worst", 10.2)];
    json!({ "images": images, "inverted": [image("best", 25.0)] }).to_string().into_bytes()
}

/// The data of the example journal's first events, one a line.
pub fn events() -> Vec<Vec<u8>> {
    let text = String::from_utf8(file("results/example/journal.jsonl")).expect("the example is text");
    let data = |line: &str| {
        let line: Value = serde_json::from_str(line).expect("the example is JSON");
        line["data"].to_string()
    };
    let lines: Vec<String> = text.lines().skip(1).map(data).collect();
    let last = lines.last().cloned().unwrap_or_default();
    vec![lines[..2].join("\n").into_bytes(), last.into_bytes()]
}

/// The manifest of a package that was exported from nothing, without its net's hash.
pub fn manifest() -> Vec<u8> {
    json!({
        "version": 2, "privynet": "0.1.0", "study": "fuzz", "status": "verified", "architecture": "vgg16",
        "id": "conv3_1-4-dbcdcab1", "design": { "split": "conv3_1", "channels": { "set": [0, 1, 2, 3] } }, "selection": "first",
        "preprocessing": { "resize": { "to": 8, "fit": "crop" }, "side": 8, "content": [8, 8], "scale": [1.0, 1.0, 1.0],
            "shift": [0.0, 0.0, 0.0] },
        "weights_precision": "f32", "features_precision": "f16", "feature_shape": [4, 8, 8],
        "cost": { "macs": 1, "bytes": 2, "parameters": 3, "peak_memory": 4, "upload_bytes": 5 }, "classes": ["a", "b"],
        "claims": [{ "metric": "accuracy", "value": 0.8, "std_error": 0.1, "extended": null, "upper": null, "limit": null }],
        "converged": true, "objections": [], "cloud_net": null, "confidence": 0.95, "threat_model": "all",
        "protocol": "quick", "seeds": [1], "weights_hash": "00", "data_hash": "00", "local_net_hash": ""
    })
    .to_string()
    .into_bytes()
}
