//! Arrays in NumPy's format: images and labels, checked before memory is asked for.
//!
//! The format is `\x93NUMPY`, a version, the length of a header, the header (a Python dictionary with `descr`,
//! `fortran_order` and `shape`) and the values. The few headers that images and labels can have are read here: the crates that
//! read all of them bring a grammar of Python's literals.

use std::fs::File;
use std::io::{BufReader, Read};
use std::path::Path;

use super::error::ArrayProblem;
use super::listing::{Listing, Order, Pixels, Store, require_room};
use super::{DataError, MAX_PART_BYTES};

/// Longest header that is read: that of four dimensions has some hundred bytes.
const MOST_HEADER_BYTES: usize = 1 << 16;

/// Values that are converted at a time.
const CHUNK: usize = 1 << 16;

/// Reads a pair of files.
pub(super) fn read_pair(images: &Path, labels: &Path) -> Result<Listing, DataError> {
    let open = |path: &Path| {
        let file = File::open(path).map_err(|source| DataError::Read { path: path.to_path_buf(), source })?;
        Ok::<_, DataError>(BufReader::with_capacity(1 << 16, file))
    };
    let pixels = read_images(&mut open(images)?, images, &Name { file: images, array: None })?;
    let found = read_labels(&mut open(labels)?, &Name { file: labels, array: None })?;
    listing(pixels, images, found, labels)
}

/// Images and labels, once they are found to be as many.
pub(super) fn listing(
    pixels: Pixels,
    images: &Path,
    labels: Vec<u16>,
    label_file: &Path,
) -> Result<Listing, DataError> {
    let image_count = pixels.files.iter().map(|(_, count)| count).sum();
    if labels.len() != image_count {
        return Err(DataError::CountMismatch {
            images: images.to_path_buf(),
            image_count,
            labels: label_file.to_path_buf(),
            label_count: labels.len(),
        });
    }
    Ok(Listing {
        root: images.to_path_buf(),
        labels,
        class_names: None,
        label_file: Some(label_file.to_path_buf()),
        store: Store::Memory(pixels),
    })
}

/// What messages call an array.
pub(super) struct Name<'a> {
    pub file: &'a Path,
    /// Where the file holds several.
    pub array: Option<&'a str>,
}

impl Name<'_> {
    fn fails(&self, problem: ArrayProblem) -> DataError {
        DataError::Array { path: self.file.to_path_buf(), array: self.array.map(str::to_owned), problem }
    }
}

/// Reads an array of images.
///
/// `[n, h, w]` and one channel are grey, three channels RGB, last or after n: where both axes have three, the last is the
/// channels'. Bytes are taken as they are. Floats must all lie in 0 to 1, and are scaled by 255 and rounded, or all be whole numbers
/// from 0 to 255; where there is nothing but zeros and ones, one is white.
pub(super) fn read_images(reader: &mut dyn Read, path: &Path, name: &Name) -> Result<Pixels, DataError> {
    let header = Header::read(reader).map_err(|problem| name.fails(problem))?;
    let (count, height, width, order) = match header.shape[..] {
        [n, h, w] | [n, h, w, 1] | [n, 1, h, w] => (n, h, w, Order::Grey),
        [n, h, w, 3] => (n, h, w, Order::Interleaved),
        [n, 3, h, w] => (n, h, w, Order::Planar),
        _ => return Err(name.fails(ArrayProblem::ImageShape(header.shape))),
    };
    if count == 0 || height == 0 || width == 0 {
        return Err(name.fails(ArrayProblem::Empty(header.shape)));
    }
    require_room(path, count, width, height)?;
    if height != width {
        return Err(DataError::NotSquare { place: path.into(), width, height });
    }
    let size = height * width * order.channels();
    let bytes = match header.dtype {
        Dtype { kind: 'u', bytes: 1, .. } => body(reader, count * size),
        Dtype { kind: 'f', bytes: 4 | 8, .. } => floats(reader, count, size, header.dtype),
        found => Err(found.unsuitable("bytes (`uint8`) or floats", "uint8")),
    };
    let bytes = bytes.map_err(|problem| name.fails(problem))?;
    Ok(Pixels { side: height, order, bytes, files: vec![(path.into(), count)] })
}

/// Reads an array of integer labels.
pub(super) fn read_labels(reader: &mut dyn Read, name: &Name) -> Result<Vec<u16>, DataError> {
    let fails = |problem| name.fails(problem);
    let header = Header::read(reader).map_err(fails)?;
    let ([count] | [count, 1]) = header.shape[..] else {
        return Err(fails(ArrayProblem::LabelShape(header.shape)));
    };
    let dtype = header.dtype;
    if !matches!((dtype.kind, dtype.bytes), ('u' | 'i', 1 | 2 | 4 | 8)) {
        return Err(fails(dtype.unsuitable("integers", "int64")));
    }
    let Some(len) = count.checked_mul(dtype.bytes).filter(|&len| len <= MAX_PART_BYTES) else {
        return Err(fails(ArrayProblem::LabelShape(header.shape)));
    };
    let bytes = body(reader, len).map_err(fails)?;
    let labels = bytes.chunks_exact(dtype.bytes).enumerate().map(|(index, value)| {
        let label = dtype.integer(value);
        u16::try_from(label).map_err(|_| DataError::Label {
            path: name.file.to_path_buf(),
            index,
            label,
            classes: usize::from(u16::MAX) + 1,
        })
    });
    labels.collect()
}

/// The type of an array's values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Dtype {
    /// `u`, `i`, `f` and others.
    kind: char,
    /// Bytes of one value.
    bytes: usize,
    big_endian: bool,
}

impl Dtype {
    /// Of NumPy's text, as `|u1` or `<f4`.
    fn parse(text: &str) -> Option<Self> {
        let (order, rest) = match text.chars().next()? {
            order @ ('<' | '>' | '|' | '=') => (order, &text[1..]),
            _ => ('=', text),
        };
        let kind = rest.chars().next().filter(char::is_ascii)?;
        let bytes = rest[1..].parse().ok()?;
        let big_endian = order == '>' || order == '=' && cfg!(target_endian = "big");
        Some(Self { kind, bytes, big_endian })
    }

    fn unsuitable(self, expected: &'static str, remedy: &'static str) -> ArrayProblem {
        let found = match self.kind {
            'u' => format!("uint{}", 8 * self.bytes),
            'i' => format!("int{}", 8 * self.bytes),
            'f' => format!("float{}", 8 * self.bytes),
            'b' => "bool".to_owned(),
            other => format!("{other}{}", self.bytes),
        };
        ArrayProblem::Type { found, expected, remedy }
    }

    /// The bytes of a value, the least significant first.
    fn little_endian(self, value: &[u8]) -> [u8; 8] {
        let mut bytes = [0; 8];
        bytes[..value.len()].copy_from_slice(value);
        if self.big_endian {
            bytes[..value.len()].reverse();
        }
        bytes
    }

    /// An integer of up to eight bytes; one beyond i64 is its largest value.
    fn integer(self, value: &[u8]) -> i64 {
        let bits = u64::from_le_bytes(self.little_endian(value));
        match self.kind {
            'i' => {
                let unused = 64 - 8 * value.len() as u32;
                (bits << unused).cast_signed() >> unused
            }
            _ => i64::try_from(bits).unwrap_or(i64::MAX),
        }
    }

    /// A float of four or eight bytes.
    fn float(self, value: &[u8]) -> f64 {
        let bytes = self.little_endian(value);
        match value.len() {
            4 => f32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]).into(),
            _ => f64::from_le_bytes(bytes),
        }
    }
}

/// What a header says.
struct Header {
    dtype: Dtype,
    shape: Vec<usize>,
}

impl Header {
    fn read(reader: &mut dyn Read) -> Result<Self, ArrayProblem> {
        let mut start = [0; 8];
        let magic = fill(reader, &mut start)? && start.starts_with(b"\x93NUMPY");
        let len_bytes = match start[6] {
            _ if !magic => return Err(ArrayProblem::Magic),
            1 => 2,
            2 | 3 => 4,
            version => return Err(ArrayProblem::Version(version)),
        };
        let mut len = [0; 4];
        let known = fill(reader, &mut len[..len_bytes])?;
        let len = u32::from_le_bytes(len) as usize;
        let mut text = vec![0; len.min(MOST_HEADER_BYTES)];
        if !known || len > MOST_HEADER_BYTES || !fill(reader, &mut text)? {
            return Err(ArrayProblem::Header("length"));
        }
        let text = str::from_utf8(&text).map_err(|_| ArrayProblem::Header("descr"))?;
        Self::parse(text)
    }

    fn parse(text: &str) -> Result<Self, ArrayProblem> {
        let field = |key: &'static str| {
            let found = ['\'', '"'].iter().find_map(|quote| text.split_once(&format!("{quote}{key}{quote}")));
            let value = found.and_then(|(_, rest)| rest.trim_start().strip_prefix(':'));
            value.map(str::trim_start).ok_or(ArrayProblem::Header(key))
        };
        let descr = field("descr")?;
        let quoted = descr.strip_prefix(['\'', '"']).and_then(|rest| rest.split_once(['\'', '"']));
        let dtype = match quoted {
            Some((descr, _)) => Dtype::parse(descr).ok_or(ArrayProblem::Header("descr"))?,
            None if descr.starts_with('[') => Dtype { kind: 'V', bytes: 0, big_endian: false },
            None => return Err(ArrayProblem::Header("descr")),
        };
        let order = field("fortran_order")?;
        let shape = field("shape")?.strip_prefix('(').and_then(|rest| rest.split_once(')'));
        let (shape, _) = shape.ok_or(ArrayProblem::Header("shape"))?;
        let sizes = shape.split(',').map(str::trim).filter(|size| !size.is_empty()).map(str::parse);
        let shape: Vec<usize> = sizes.collect::<Result<_, _>>().map_err(|_| ArrayProblem::Header("shape"))?;
        match (order.starts_with("False"), order.starts_with("True")) {
            (true, _) => {}
            // In one dimension there is but one order.
            (_, true) if shape.len() < 2 => {}
            (_, true) => return Err(ArrayProblem::Fortran),
            _ => return Err(ArrayProblem::Header("fortran_order")),
        }
        Ok(Self { dtype, shape })
    }
}

/// Fills a buffer; false where the file ends before.
fn fill(reader: &mut dyn Read, buffer: &mut [u8]) -> Result<bool, ArrayProblem> {
    match reader.read_exact(buffer) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => Ok(false),
        Err(error) => Err(ArrayProblem::Read(error)),
    }
}

/// The values' bytes, of which there must be `len`; memory grows with what is there.
fn body(reader: &mut dyn Read, len: usize) -> Result<Vec<u8>, ArrayProblem> {
    let mut bytes = Vec::with_capacity(len.min(1 << 24));
    (&mut *reader).take(len as u64).read_to_end(&mut bytes).map_err(ArrayProblem::Read)?;
    if bytes.len() < len {
        return Err(ArrayProblem::Truncated { expected: len, found: bytes.len() });
    }
    at_end(reader, len)?;
    Ok(bytes)
}

/// Refuses what stands after the values; an archive's checksum is compared here.
fn at_end(reader: &mut dyn Read, expected: usize) -> Result<(), ArrayProblem> {
    match fill(reader, &mut [0])? {
        true => Err(ArrayProblem::Trailing { expected }),
        false => Ok(()),
    }
}

/// What the floats read so far can be.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Range {
    /// Zeros and ones: either.
    Open,
    /// 0 to 1.
    Unit,
    /// Whole numbers from 0 to 255.
    Whole,
}

/// Floats as bytes, without ever holding all of them.
fn floats(reader: &mut dyn Read, count: usize, size: usize, dtype: Dtype) -> Result<Vec<u8>, ArrayProblem> {
    let (total, expected) = (count * size, (count * size).saturating_mul(dtype.bytes));
    let mut out: Vec<u8> = Vec::with_capacity(total.min(1 << 24));
    let mut range = Range::Open;
    let mut buffer = vec![0; CHUNK * dtype.bytes];
    while out.len() < total {
        let wanted = (total - out.len()).min(CHUNK) * dtype.bytes;
        if !fill(reader, &mut buffer[..wanted])? {
            return Err(ArrayProblem::Truncated { expected, found: out.len() * dtype.bytes });
        }
        for value in buffer[..wanted].chunks_exact(dtype.bytes) {
            let value = dtype.float(value);
            let whole = value.fract() == 0.0;
            let suits = match range {
                Range::Open | Range::Unit if (0.0..=1.0).contains(&value) => true,
                Range::Open | Range::Whole => whole && (0.0..=255.0).contains(&value),
                Range::Unit => false,
            };
            if !suits {
                return Err(ArrayProblem::Value { index: out.len() / size, value });
            }
            if range == Range::Open && value > 1.0 {
                range = Range::Whole;
            } else if range == Range::Open && !whole {
                range = Range::Unit;
                out.iter_mut().for_each(|byte| *byte *= u8::MAX);
            }
            // In range by the checks above: the cast loses nothing.
            out.push(if range == Range::Unit { (value * 255.0).round() as u8 } else { value as u8 });
        }
    }
    if range == Range::Open {
        out.iter_mut().for_each(|byte| *byte *= u8::MAX);
    }
    at_end(reader, expected)?;
    Ok(out)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::data::Part;

    /// The bytes of `numpy.save(file, array)`.
    pub(in crate::data) fn npy(descr: &str, shape: &[usize], values: &[u8]) -> Vec<u8> {
        let sizes: Vec<String> = shape.iter().map(|size| format!("{size},")).collect();
        let header = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': ({}), }}", sizes.join(" "));
        with_header(&header, values)
    }

    fn with_header(header: &str, values: &[u8]) -> Vec<u8> {
        let len = (10 + header.len() + 1).next_multiple_of(64) - 10;
        let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
        bytes.extend((len as u16).to_le_bytes());
        bytes.extend(format!("{header:<width$}\n", width = len - 1).bytes());
        bytes.extend(values);
        bytes
    }

    fn images(bytes: &[u8]) -> Result<Pixels, DataError> {
        let path = Path::new("x.npy");
        read_images(&mut &bytes[..], path, &Name { file: path, array: None })
    }

    fn labels(bytes: &[u8]) -> Result<Vec<u16>, DataError> {
        read_labels(&mut &bytes[..], &Name { file: Path::new("y.npz"), array: Some("y") })
    }

    fn image_message(bytes: &[u8]) -> String {
        images(bytes).unwrap_err().to_string()
    }

    fn label_message(bytes: &[u8]) -> String {
        labels(bytes).unwrap_err().to_string()
    }

    fn f32s(values: &[f32]) -> Vec<u8> {
        values.iter().flat_map(|value| value.to_le_bytes()).collect()
    }

    /// The first pixel and the second of each image, whatever the order in the file.
    #[test]
    fn shapes_say_where_the_channels_are() {
        let values: Vec<u8> = (0..24).collect();
        let first = |shape: &[usize], values: &[u8]| {
            let pixels = images(&npy("|u1", shape, values)).unwrap();
            let listing = listing(pixels, Path::new("x"), vec![0; shape[0]], Path::new("y")).unwrap();
            listing.read(Part::Training, &[shape[0] - 1], None).unwrap().pixels[..6].to_vec()
        };
        assert_eq!(first(&[6, 2, 2], &values), [20, 20, 20, 21, 21, 21]);
        assert_eq!(first(&[6, 2, 2, 1], &values), [20, 20, 20, 21, 21, 21]);
        assert_eq!(first(&[6, 1, 2, 2], &values), [20, 20, 20, 21, 21, 21]);
        assert_eq!(first(&[2, 2, 2, 3], &values), [12, 13, 14, 15, 16, 17]);
        assert_eq!(first(&[2, 3, 2, 2], &values), [12, 16, 20, 13, 17, 21]);
        assert_eq!(first(&[1, 3, 3, 3], &(0..27).collect::<Vec<u8>>()), [0, 1, 2, 3, 4, 5], "channels come last");
    }

    #[test]
    fn floats_are_of_one_of_two_ranges() {
        let read = |values: &[f32]| images(&npy("<f4", &[1, 2, 2], &f32s(values))).map(|pixels| pixels.bytes);
        assert_eq!(read(&[0.0, 1.0, 0.5, 1.0 / 255.0]).unwrap(), [0, 255, 128, 1]);
        assert_eq!(read(&[0.0, 1.0, 2.0, 255.0]).unwrap(), [0, 1, 2, 255]);
        assert_eq!(read(&[0.0, 1.0, 1.0, 0.0]).unwrap(), [0, 255, 255, 0]);
        for wrong in
            [[0.0, 0.5, 2.0, 0.0], [3.0, 0.5, 0.0, 0.0], [0.0, -1.0, 0.0, 0.0], [0.0, f32::NAN, 0.0, 0.0], [256.0; 4]]
        {
            let found = read(&wrong).unwrap_err().to_string();
            assert!(found.contains("in image 0: floats must all lie in 0 to 1, or all be whole numbers"), "{found}");
        }
        let big: Vec<u8> = [0.0_f64, 1.0, 0.5, 0.25].iter().flat_map(|value| value.to_be_bytes()).collect();
        assert_eq!(images(&npy(">f8", &[1, 2, 2], &big)).unwrap().bytes, [0, 255, 128, 64]);
        let bytes: Vec<u8> = (0..=255).flat_map(|byte| (byte as f32 / 255.0).to_le_bytes()).collect();
        let back = images(&npy("<f4", &[1, 16, 16], &bytes)).unwrap().bytes;
        assert_eq!(back, (0..=255).collect::<Vec<u8>>(), "dividing by 255 is undone exactly");
    }

    #[test]
    fn labels_are_integers_of_any_width() {
        assert_eq!(labels(&npy("<i8", &[2], &[7, 0, 0, 0, 0, 0, 0, 0, 1, 1, 0, 0, 0, 0, 0, 0])).unwrap(), [7, 257]);
        assert_eq!(labels(&npy(">u2", &[2, 1], &[0, 7, 1, 1])).unwrap(), [7, 257]);
        assert_eq!(labels(&npy("|i1", &[2], &[7, 9])).unwrap(), [7, 9]);
        let found = label_message(&npy("|i1", &[2], &[7, 255]));
        assert!(found.starts_with("`y.npz`: label -1 of image 1 (counted from 0) is not one of the 65536"), "{found}");
        assert!(label_message(&npy("<u8", &[1], &[255; 8])).contains("label 9223372036854775807 of image 0"));
        assert_eq!(
            label_message(&npy("<f4", &[1], &[0; 4])),
            "`y.npz`: array `y` holds values of type `float32`, expected integers: convert them with `.astype('int64')`"
        );
        assert!(
            label_message(&npy("|u1", &[2, 10], &[0; 20])).contains("shape [2, 10], expected labels as [n] or [n, 1]")
        );
    }

    #[test]
    fn mistakes_name_file_and_remedy() {
        assert!(image_message(b"PK").starts_with("`x.npy` is not in NumPy's format"));
        assert!(image_message(b"\x93NUMPY\x09\x00").contains("version 9"));
        assert!(image_message(b"\x93NUMPY\x02\x00\xff\xff\xff\xff").contains("damaged header (`length`"));
        let good = npy("|u1", &[2, 2, 2], &[0; 8]);
        for len in 8..good.len() {
            let found = image_message(&good[..len]);
            assert!(found.contains("damaged header") || found.contains("is truncated"), "{len}: {found}");
        }
        assert_eq!(
            image_message(&good[..good.len() - 3]),
            "`x.npy` is truncated: its header announces 8 bytes of values, found 5; save it again"
        );
        assert!(image_message(&[good, vec![0]].concat()).contains("more than the 8 bytes"));
        let fortran = with_header("{'descr': '|u1', 'fortran_order': True, 'shape': (1, 2, 2), }", &[0; 4]);
        assert!(image_message(&fortran).contains("ascontiguousarray"));
        let record = with_header("{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (1, 2, 2), }", &[0; 16]);
        assert!(image_message(&record).contains("type `V0`"));
        assert!(
            image_message(&npy("<i8", &[1, 2, 2], &[0; 32])).contains("`int64`, expected bytes (`uint8`) or floats")
        );
        assert!(
            image_message(&npy("|u1", &[4, 12], &[0; 48])).contains("the shape [4, 12], expected images as [n, side")
        );
        assert!(image_message(&npy("|u1", &[0, 2, 2], &[])).contains("holds no images"));
        assert!(image_message(&npy("|u1", &[1, 2, 3], &[0; 6])).contains("must be square, found 3×2"));
    }

    #[test]
    fn a_header_that_lies_costs_no_memory() {
        let found = image_message(&npy("|u1", &[40_000, 100, 100], &[0; 10]));
        assert!(found.contains("announces 400000000 bytes of values, found 10"), "{found}");
        assert!(image_message(&npy("|u1", &[usize::MAX, 100, 100], &[0; 10])).contains("more than the 4 GiB"));
        assert!(image_message(&npy("<f8", &[1 << 20, 16, 16], &[0; 10])).contains("is truncated"));
        assert!(label_message(&npy("<i8", &[usize::MAX], &[0; 8])).contains("expected labels as"));
    }
}
