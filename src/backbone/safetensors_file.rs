//! Reading single tensors of a safetensors file: 8 bytes with the header's length, the header (JSON), the data.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use half::slice::HalfFloatSliceExt;
use half::{bf16, f16};
use safetensors::Dtype;
use safetensors::tensor::Metadata;

use super::BackboneError;

/// Headers of real nets take some kB; a longer one is a file of another format.
const MAX_HEADER: u64 = 16 << 20;

/// An open file whose header is known to announce exactly the bytes there are.
#[derive(Debug)]
pub(super) struct SafetensorsFile {
    path: PathBuf,
    file: File,
    metadata: Metadata,
    data_start: u64,
}

impl SafetensorsFile {
    /// Reads and checks the header; no size in it is believed before it is compared with the file's.
    pub fn open(path: &Path) -> Result<Self, BackboneError> {
        let path = path.to_path_buf();
        let fail = |source| BackboneError::Read { path: path.clone(), source };
        let format = |reason: String| BackboneError::Format { path: path.clone(), reason };
        let mut file = File::open(&path).map_err(fail)?;
        let found = file.metadata().map_err(fail)?.len();
        if found < 8 {
            return Err(BackboneError::Truncated { path, expected: 8, found });
        }
        let mut length = [0; 8];
        file.read_exact(&mut length).map_err(fail)?;
        let length = u64::from_le_bytes(length);
        if length > MAX_HEADER {
            return Err(format(format!("its header would be {length} bytes long")));
        }
        let data_start = 8 + length;
        if found < data_start {
            return Err(BackboneError::Truncated { path, expected: data_start, found });
        }
        let mut header = vec![0; length as usize];
        file.read_exact(&mut header).map_err(fail)?;
        let metadata: Metadata = serde_json::from_slice(&header)
            .map_err(|error| format(format!("its header does not describe tensors ({error})")))?;
        let expected = data_start.saturating_add(metadata.data_len() as u64);
        if found < expected {
            return Err(BackboneError::Truncated { path, expected, found });
        }
        if found > expected {
            return Err(format(format!("it is {found} bytes long, its header announces {expected}")));
        }
        Ok(SafetensorsFile { path, file, metadata, data_start })
    }

    /// Whether there is a tensor of this name.
    pub fn has(&self, name: &str) -> bool {
        self.metadata.info(name).is_some()
    }

    /// The values of a tensor, which must exist, have this shape and hold finite numbers.
    pub fn tensor(&mut self, name: &str, shape: &[usize]) -> Result<Vec<f32>, BackboneError> {
        let path = || self.path.clone();
        let tensor = || name.to_owned();
        let Some(info) = self.metadata.info(name) else {
            let mut names = self.metadata.offset_keys();
            names.sort();
            let rest = names.len().saturating_sub(6);
            names.truncate(6);
            let mut found = names.join(", ");
            if rest > 0 {
                found += &format!(" and {rest} more");
            }
            return Err(BackboneError::MissingTensor { path: path(), tensor: tensor(), found });
        };
        if info.shape != shape {
            let (expected, found) = (shape.to_vec(), info.shape.clone());
            return Err(BackboneError::Shape { path: path(), tensor: tensor(), expected, found });
        }
        if !matches!(info.dtype, Dtype::F16 | Dtype::BF16 | Dtype::F32) {
            let found = format!("{:?}", info.dtype);
            return Err(BackboneError::NumberType { path: path(), tensor: tensor(), found });
        }
        let (begin, end) = info.data_offsets;
        let mut bytes = vec![0; end - begin];
        self.file
            .seek(SeekFrom::Start(self.data_start + begin as u64))
            .and_then(|_| self.file.read_exact(&mut bytes))
            .map_err(|source| BackboneError::Read { path: path(), source })?;
        let values = to_f32(&bytes, info.dtype);
        if let Some(index) = values.iter().position(|value| !value.is_finite()) {
            let value = values[index];
            return Err(BackboneError::NotFinite { path: path(), tensor: tensor(), index, value });
        }
        Ok(values)
    }
}

/// Little-endian numbers of 16 or 32 bits.
fn to_f32(bytes: &[u8], dtype: Dtype) -> Vec<f32> {
    let halves = || bytes.chunks_exact(2).map(|pair| u16::from_le_bytes([pair[0], pair[1]]));
    match dtype {
        Dtype::F16 => {
            let halves: Vec<f16> = halves().map(f16::from_bits).collect();
            halves.to_f32_vec()
        }
        Dtype::BF16 => halves().map(|bits| bf16::from_bits(bits).to_f32()).collect(),
        _ => bytes.chunks_exact(4).map(|word| f32::from_le_bytes([word[0], word[1], word[2], word[3]])).collect(),
    }
}
