//! Writing, reading and running a package.

use std::path::{Path, PathBuf};

use half::f16;

use super::ExportError;
use super::manifest::{MANIFEST_FILE, MANIFEST_VERSION, Manifest, Preprocessing};
use super::tensors::{self, Array};
use crate::bounded;
use crate::config::{FloatPrecision, WeightsPrecision};
use crate::data::read_rgb;
use crate::nn::{Device, Frozen, Graph, GraphCost, GraphOp};
use crate::onnx::{self, ImageInput, Layout, PixelType, WeightPrecision};

/// The local net as a runtime takes it, from pixels to features.
pub const LOCAL_NET_FILE: &str = "local_net.onnx";

/// Its weights alone.
pub const LOCAL_WEIGHTS_FILE: &str = "local_net.safetensors";

/// The trained cloud net, from features to class scores.
pub const CLOUD_NET_FILE: &str = "cloud_net.onnx";

/// Its weights alone.
pub const CLOUD_WEIGHTS_FILE: &str = "cloud_net.safetensors";

/// Most bytes of a manifest.
const MOST_MANIFEST: u64 = 16 << 20;

/// Most bytes of a net's file.
const MOST_NET: u64 = 2 << 30;

/// Most values that a net may hold at once for an image, half a gibibyte of them: what VGG-16's first layers hold of 1024×1024.
const MOST_VALUES: u64 = 1 << 27;

/// Largest side of an image, and of what images are resized to.
const MOST_SIDE: usize = 4096;

/// The trained cloud net of a study.
#[derive(Debug, Clone, Copy)]
pub struct CloudNetFiles<'a> {
    /// As an ONNX file.
    pub onnx: &'a [u8],
    /// As safetensors.
    pub weights: &'a [u8],
}

/// Writes the package of `manifest`'s design into `dir`, which must be new or empty.
///
/// `local_net` computes the features of the kept channels with weights at the precision that was measured. The manifest goes
/// last: a folder with one is complete.
///
/// # Errors
/// [`ExportError::NotEmpty`], [`ExportError::Io`], [`ExportError::Write`].
pub fn write(
    dir: &Path,
    mut manifest: Manifest,
    local_net: &Graph,
    cloud_net: Option<CloudNetFiles<'_>>,
) -> Result<Manifest, ExportError> {
    std::fs::create_dir_all(dir).map_err(ExportError::io("written", dir))?;
    let mut entries = std::fs::read_dir(dir).map_err(ExportError::io("read", dir))?;
    if entries.next().is_some() {
        return Err(ExportError::NotEmpty { path: dir.to_owned() });
    }
    let p = &manifest.preprocessing;
    let image =
        ImageInput { scale: p.scale, shift: p.shift, content: p.content, side: p.side, pixels: PixelType::Float };
    let precision = match manifest.weights_precision {
        WeightsPrecision::Int8 => WeightPrecision::Int8,
        WeightsPrecision::F16 => WeightPrecision::F16,
        WeightsPrecision::F32 => WeightPrecision::F32,
    };
    let metadata = [
        ("privynet", manifest.privynet.clone()),
        ("study", manifest.study.clone()),
        ("design", manifest.id.clone()),
        ("backbone", format!("{} {}", manifest.architecture, manifest.weights_hash)),
    ]
    .map(|(key, value)| (key.to_owned(), value));
    let bytes = onnx::local_net(local_net, &image, precision, &metadata)?;
    manifest.local_net_hash = blake3::hash(&bytes).to_hex().to_string();
    // Eight bits are the ONNX file's own; here they stand as the numbers that they make.
    let precision = match manifest.weights_precision {
        WeightsPrecision::F16 => FloatPrecision::F16,
        WeightsPrecision::F32 | WeightsPrecision::Int8 => FloatPrecision::F32,
    };
    let weights = weights(local_net, precision)
        .map_err(|error| ExportError::Format { path: dir.join(LOCAL_WEIGHTS_FILE), problem: error.to_string() })?;
    let mut files = vec![(LOCAL_NET_FILE, &bytes[..]), (LOCAL_WEIGHTS_FILE, &weights)];
    if let Some(cloud) = cloud_net {
        files.extend([(CLOUD_NET_FILE, cloud.onnx), (CLOUD_WEIGHTS_FILE, cloud.weights)]);
    }
    let path = dir.join(MANIFEST_FILE);
    let text = serde_json::to_vec_pretty(&manifest)
        .map_err(|error| ExportError::Format { path: path.clone(), problem: error.to_string() })?;
    files.push((MANIFEST_FILE, &text));
    for (name, bytes) in files {
        let path = dir.join(name);
        std::fs::write(&path, bytes).map_err(ExportError::io("written", &path))?;
    }
    Ok(manifest)
}

/// The weights of a graph's nodes, by their names.
fn weights(graph: &Graph, precision: FloatPrecision) -> Result<Vec<u8>, safetensors::SafeTensorError> {
    let mut arrays = Vec::new();
    for node in graph.nodes() {
        let mut push = |kind: &str, dims: Vec<usize>, data| {
            arrays.push(Array { name: format!("{}.{kind}", node.name), dims, data });
        };
        match &node.op {
            GraphOp::Conv(conv) => {
                push(
                    "weight",
                    vec![conv.output, conv.input / conv.groups, conv.kernel[0], conv.kernel[1]],
                    &conv.weight,
                );
                push("bias", vec![conv.output], &conv.bias);
            }
            GraphOp::Affine { scale, shift } => {
                push("scale", vec![scale.len()], scale);
                push("shift", vec![shift.len()], shift);
            }
            _ => {}
        }
    }
    tensors::encode(&arrays, precision)
}

/// Takes the manifest out of the package in `dir`, so that nobody takes the folder for a complete one.
///
/// # Errors
/// [`ExportError::Io`].
pub fn withdraw(dir: &Path) -> Result<(), ExportError> {
    let path = dir.join(MANIFEST_FILE);
    std::fs::remove_file(&path).map_err(ExportError::io("removed", &path))
}

/// An exported local net, ready to run on the CPU.
pub struct Package {
    manifest: Manifest,
    net: Frozen,
    /// `local_net.onnx`.
    onnx: Vec<u8>,
}

impl Package {
    /// Opens the package in `dir`; its net is compared with the manifest's hash.
    ///
    /// # Errors
    /// [`ExportError::Io`] and [`ExportError::Format`] for what is missing or damaged.
    pub fn open(dir: &Path) -> Result<Self, ExportError> {
        let path = dir.join(MANIFEST_FILE);
        let format = |path: &Path, problem: String| ExportError::Format { path: path.to_owned(), problem };
        let text = file(&path, MOST_MANIFEST)?;
        // The version first: another version's fields are others.
        let unreadable = |error: serde_json::Error| format(&path, format!("is not a package's manifest: {error}"));
        let Versioned { version } = serde_json::from_slice(&text).map_err(unreadable)?;
        if version != MANIFEST_VERSION {
            let problem =
                format!("has version {version}, this program reads {MANIFEST_VERSION}: export the study again");
            return Err(format(&path, problem));
        }
        let manifest: Manifest = serde_json::from_slice(&text).map_err(unreadable)?;
        let Preprocessing { resize, side, content: [height, width], .. } = manifest.preprocessing;
        if side > MOST_SIDE || height > side || width != height || height == 0 {
            return Err(format(&path, format!("an input of {height}×{width} in {side}×{side} is not accepted")));
        }
        if let Some(resize) = resize.filter(|resize| resize.to != height) {
            let problem = format!("images resized to {0}×{0} are no input of {height}×{width}", resize.to);
            return Err(format(&path, problem));
        }
        let [channels, rows, columns] = manifest.feature_shape;
        let path = dir.join(LOCAL_NET_FILE);
        let onnx = file(&path, MOST_NET)?;
        if blake3::hash(&onnx).to_hex().as_str() != manifest.local_net_hash {
            let problem = "does not have the hash in the manifest: it was changed or damaged, export it again";
            return Err(format(&path, problem.to_owned()));
        }
        let imported = onnx::import(&onnx).map_err(|problem| format(&path, problem.to_string()))?;
        let GraphCost { output, peak_values, .. } =
            imported.graph.cost(height, width).map_err(crate::nn::NnError::from)?;
        if peak_values > MOST_VALUES {
            let problem = format!("holds {peak_values} values at once for one image, at most {MOST_VALUES} are taken");
            return Err(format(&path, problem));
        }
        if imported.layout != Layout::ChannelsFirst
            || [output.channels, output.height, output.width] != [channels, rows, columns]
        {
            return Err(format(&path, "gives other features than the manifest says".to_owned()));
        }
        let net = Frozen::of_graph(&imported.graph, height, Device::Cpu)?;
        Ok(Self { net, manifest, onnx })
    }

    /// The package's description.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// The bytes of `local_net.onnx`.
    pub fn onnx(&self) -> &[u8] {
        &self.onnx
    }

    /// The features of an RGB image of the manifest's content size or of its input side, `[channels, rows, columns]`, as the net
    /// computes them.
    ///
    /// # Errors
    /// [`ExportError::Net`] where `rgb` has another length.
    pub fn computed(&mut self, rgb: &[u8]) -> Result<Vec<f32>, ExportError> {
        let p = &self.manifest.preprocessing;
        let [height, width] = p.content;
        let input: Vec<f32> = match rgb.len() == p.side * p.side * 3 {
            true => crop(rgb, height, width, p.side),
            false => rgb.iter().copied().map(f32::from).collect(),
        };
        let tap = self.net.layers() - 1;
        let mut map = Vec::new();
        self.net.forward_taps(&input, 1, &[tap], &mut |_, values| {
            map.extend_from_slice(values);
            Ok(())
        })?;
        let [channels, rows, columns] = self.manifest.feature_shape;
        let pixels = rows * columns;
        Ok((0..channels * pixels).map(|i| map[i % pixels * channels + i / pixels]).collect())
    }

    /// The same, rounded to the precision of the upload.
    ///
    /// # Errors
    /// As [`computed`](Self::computed).
    pub fn features(&mut self, rgb: &[u8]) -> Result<Vec<f32>, ExportError> {
        let round = match self.manifest.features_precision {
            FloatPrecision::F16 => |value: f32| f16::from_f32(value).to_f32(),
            FloatPrecision::F32 => |value: f32| value,
        };
        Ok(self.computed(rgb)?.into_iter().map(round).collect())
    }

    /// Reads a JPEG, PNG or WebP file as RGB bytes that [`Package::features`] takes, resized as the study's images were.
    ///
    /// # Errors
    /// [`ExportError::Data`] for a file that is no image, [`ExportError::Image`] for one of another size where none are resized.
    pub fn read_image(&self, path: &Path) -> Result<Vec<u8>, ExportError> {
        let p = &self.manifest.preprocessing;
        let image = read_rgb(path, p.resize)?;
        let [height, width] = p.content;
        let size = (image.width, image.height);
        if size != (width, height) && size != (p.side, p.side) {
            let problem = format!(
                "is {}×{}; this package takes {width}×{height}{}: resize it first",
                size.0,
                size.1,
                if p.side == width { String::new() } else { format!(" or {0}×{0}", p.side) }
            );
            return Err(ExportError::Image { path: path.to_owned(), problem });
        }
        Ok(image.pixels)
    }
}

/// The whole of one of a package's files, which come from others: never through a link.
fn file(path: &Path, most: u64) -> Result<Vec<u8>, ExportError> {
    bounded::refuse_irregular(path).and_then(|()| bounded::read(path, most)).map_err(ExportError::io("read", path))
}

/// Of a manifest what every version has.
#[derive(serde::Deserialize)]
struct Versioned {
    version: u32,
}

/// The middle of an image.
fn crop(rgb: &[u8], height: usize, width: usize, side: usize) -> Vec<f32> {
    let (top, left) = ((side - height) / 2, (side - width) / 2);
    let row = |y: usize| &rgb[((top + y) * side + left) * 3..][..width * 3];
    (0..height).flat_map(row).copied().map(f32::from).collect()
}

/// The NumPy file (`.npy`, version 1.0) of features `[channels, rows, columns]` at `precision`.
pub fn npy(features: &[f32], shape: [usize; 3], precision: FloatPrecision) -> Vec<u8> {
    let descr = match precision {
        FloatPrecision::F16 => "<f2",
        FloatPrecision::F32 => "<f4",
    };
    let [c, h, w] = shape;
    let mut header = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': ({c}, {h}, {w}), }}");
    // Magic, version and length take 10 bytes; the header ends in a newline at a multiple of 64.
    while (10 + header.len() + 1) % 64 != 0 {
        header.push(' ');
    }
    header.push('\n');
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    bytes.extend((header.len() as u16).to_le_bytes());
    bytes.extend(header.bytes());
    for &value in features {
        match precision {
            FloatPrecision::F16 => bytes.extend(f16::from_f32(value).to_le_bytes()),
            FloatPrecision::F32 => bytes.extend(value.to_le_bytes()),
        }
    }
    bytes
}

/// Where the features of `image` go: `STEM.features.npy` in `out`, or beside the image.
pub fn features_path(image: &Path, out: Option<&Path>) -> PathBuf {
    let stem = image.file_stem().unwrap_or_default().to_string_lossy();
    let name = format!("{stem}.features.npy");
    match out {
        Some(folder) => folder.join(name),
        None => image.with_file_name(name),
    }
}
