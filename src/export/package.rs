//! Writing, reading and running a package.

use std::path::{Path, PathBuf};

use half::f16;

use super::ExportError;
use super::manifest::{MANIFEST_FILE, MANIFEST_VERSION, Manifest};
use super::tensors::{self, Array};
use crate::backbone::{Architecture, Backbone, LocalNet, read_local_net};
use crate::config::FloatPrecision;
use crate::data::read_rgb;
use crate::nn::{Device, Frozen};

/// The local net's weights.
pub const LOCAL_NET_FILE: &str = "local_net.safetensors";

/// The trained cloud net's weights.
pub const CLOUD_NET_FILE: &str = "cloud_net.safetensors";

/// Writes the package of `manifest`'s design into `dir`, which must be new or empty.
///
/// `backbone` holds the weights at the precision that was measured; `cloud_net` is the trained net as safetensors,
/// where the study has one. The manifest goes last: a folder with one is complete.
///
/// # Errors
/// [`ExportError::NotEmpty`], [`ExportError::Io`].
pub fn write(
    dir: &Path,
    mut manifest: Manifest,
    backbone: &Backbone,
    cloud_net: Option<&[u8]>,
) -> Result<Manifest, ExportError> {
    std::fs::create_dir_all(dir).map_err(ExportError::io("written", dir))?;
    let mut entries = std::fs::read_dir(dir).map_err(ExportError::io("read", dir))?;
    if entries.next().is_some() {
        return Err(ExportError::NotEmpty { path: dir.to_owned() });
    }
    let last = backbone.layer(&manifest.design.split)?;
    let net = LocalNet::new(backbone, last, &manifest.design.channels, manifest.preprocessing.side);
    let names = backbone.layers()[..=last.index].iter().map(|layer| layer.name);
    let arrays: Vec<Array<'_>> = names
        .zip(net.params.0.chunks_exact(2))
        .flat_map(|(name, pair)| {
            [("weight", &pair[0]), ("bias", &pair[1])].map(|(kind, param)| Array {
                name: format!("{name}.{kind}"),
                dims: param.dims.clone(),
                data: &param.data,
            })
        })
        .collect();
    let path = dir.join(LOCAL_NET_FILE);
    let bytes = tensors::encode(&arrays, manifest.weights_precision)
        .map_err(|error| ExportError::Format { path: path.clone(), problem: error.to_string() })?;
    manifest.local_net_hash = blake3::hash(&bytes).to_hex().to_string();
    std::fs::write(&path, bytes).map_err(ExportError::io("written", &path))?;
    if let Some(cloud_net) = cloud_net {
        let path = dir.join(CLOUD_NET_FILE);
        std::fs::write(&path, cloud_net).map_err(ExportError::io("written", &path))?;
    }
    let path = dir.join(MANIFEST_FILE);
    let text = serde_json::to_vec_pretty(&manifest)
        .map_err(|error| ExportError::Format { path: path.clone(), problem: error.to_string() })?;
    std::fs::write(&path, text).map_err(ExportError::io("written", &path))?;
    Ok(manifest)
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
}

impl Package {
    /// Opens the package in `dir`; its weights are compared with the manifest's hash.
    ///
    /// # Errors
    /// [`ExportError::Io`] and [`ExportError::Format`] for what is missing or damaged.
    pub fn open(dir: &Path) -> Result<Self, ExportError> {
        let path = dir.join(MANIFEST_FILE);
        let format = |path: &Path, problem: String| ExportError::Format { path: path.to_owned(), problem };
        let text = std::fs::read(&path).map_err(ExportError::io("read", &path))?;
        let manifest: Manifest = serde_json::from_slice(&text)
            .map_err(|error| format(&path, format!("is not a package's manifest: {error}")))?;
        if manifest.version != MANIFEST_VERSION {
            let problem = format!("has version {}, this program reads {MANIFEST_VERSION}", manifest.version);
            return Err(format(&path, problem));
        }
        if manifest.architecture != Architecture::Vgg16.name() {
            return Err(format(&path, format!("architecture `{}` is not vgg16", manifest.architecture)));
        }
        let side = manifest.preprocessing.side;
        let [height, width] = manifest.preprocessing.content;
        if side > 4096 || height > side || width > side || height == 0 || width == 0 {
            return Err(format(&path, format!("an input of {height}×{width} in {side}×{side} is not accepted")));
        }
        let weights = dir.join(LOCAL_NET_FILE);
        let bytes = std::fs::read(&weights).map_err(ExportError::io("read", &weights))?;
        if blake3::hash(&bytes).to_hex().as_str() != manifest.local_net_hash {
            let problem = "does not have the hash in the manifest: it was changed or damaged, export it again";
            return Err(format(&weights, problem.to_owned()));
        }
        let layer = Architecture::Vgg16.layer(&manifest.design.split)?;
        let net = read_local_net(&weights, layer, &manifest.design.channels, side)?;
        Ok(Self { net: Frozen::new(&net.spec, &net.params, Device::Cpu)?, manifest })
    }

    /// The package's description.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// The features of an RGB image of the manifest's content size or of its input side, `[channels, rows, columns]`,
    /// rounded to the precision of the upload.
    ///
    /// # Errors
    /// [`ExportError::Net`] where `rgb` has another length.
    pub fn features(&mut self, rgb: &[u8]) -> Result<Vec<f32>, ExportError> {
        let p = &self.manifest.preprocessing;
        let [height, width] = p.content;
        let padded = match rgb.len() == p.side * p.side * 3 {
            true => rgb.to_vec(),
            false => pad(rgb, height, width, p.side),
        };
        let mut input = vec![0.0; padded.len()];
        Architecture::Vgg16.preprocess().apply(&padded, &mut input);
        let tap = self.net.layers() - 1;
        let mut map = Vec::new();
        self.net.forward_taps(&input, 1, &[tap], &mut |_, values| {
            map.extend_from_slice(values);
            Ok(())
        })?;
        let [channels, rows, columns] = self.manifest.feature_shape;
        let pixels = rows * columns;
        Ok((0..channels * pixels)
            .map(|i| map[i % pixels * channels + i / pixels])
            .map(|v| match self.manifest.features_precision {
                FloatPrecision::F16 => f16::from_f32(v).to_f32(),
                FloatPrecision::F32 => v,
            })
            .collect())
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

/// Centres an image on black.
fn pad(rgb: &[u8], height: usize, width: usize, side: usize) -> Vec<u8> {
    let (top, left) = ((side - height) / 2, (side - width) / 2);
    let mut padded = vec![0; side * side * 3];
    for (y, row) in rgb.chunks_exact(width * 3).take(height).enumerate() {
        let start = ((top + y) * side + left) * 3;
        padded[start..start + row.len()].copy_from_slice(row);
    }
    padded
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
