//! What can be wrong inside a NumPy array or a Parquet file.

/// An array that does not hold images or labels.
#[derive(Debug, thiserror::Error)]
pub enum ArrayProblem {
    /// The first bytes are not NumPy's.
    #[error(
        "is not in NumPy's format: it does not start with `\\x93NUMPY`; save it with `numpy.save` or `numpy.savez`"
    )]
    Magic,
    /// A version that is not known.
    #[error("has version {0} of NumPy's format: versions 1 to 3 are read; save it again")]
    Version(u8),
    /// The header is not the dictionary that it should be.
    #[error("has a damaged header (`{0}` is missing or malformed): save it again")]
    Header(&'static str),
    /// Values of another kind.
    #[error("holds values of type `{found}`, expected {expected}: convert them with `.astype('{remedy}')`")]
    Type {
        /// NumPy's name of the type.
        found: String,
        /// The types that are read.
        expected: &'static str,
        /// The type to convert to.
        remedy: &'static str,
    },
    /// Columns before rows.
    #[error("is in Fortran's order: save `numpy.ascontiguousarray` of it")]
    Fortran,
    /// An array of images of another shape.
    #[error(
        "has the shape {0:?}, expected images as [n, side, side], [n, side, side, 1], [n, side, side, 3], [n, 1, side, side] or \
         [n, 3, side, side]: reshape it"
    )]
    ImageShape(Vec<usize>),
    /// An array of labels of another shape.
    #[error("has the shape {0:?}, expected labels as [n] or [n, 1] (of one-hot rows take `argmax(1)`)")]
    LabelShape(Vec<usize>),
    /// No image.
    #[error("holds no images: its shape is {0:?}")]
    Empty(Vec<usize>),
    /// It ends too early.
    #[error("is truncated: its header announces {expected} bytes of values, found {found}; save it again")]
    Truncated {
        /// Bytes of values by the header.
        expected: usize,
        /// Bytes there are.
        found: usize,
    },
    /// It goes on after its values.
    #[error("holds more than the {expected} bytes of values that its header announces: save it again")]
    Trailing {
        /// Bytes of values by the header.
        expected: usize,
    },
    /// A number that is no pixel.
    #[error(
        "holds {value} in image {index}: floats must all lie in 0 to 1, or all be whole numbers from 0 to 255; scale them, or \
         save bytes (`.astype('uint8')`)"
    )]
    Value {
        /// Position of the image, from 0.
        index: usize,
        /// The number.
        value: f64,
    },
    /// Unpacking or reading failed.
    #[error("can't be unpacked: it is damaged; save it again ({0})")]
    Read(std::io::Error),
}

/// A Parquet file that does not hold encoded images and labels.
#[derive(Debug, thiserror::Error)]
pub enum ParquetProblem {
    /// Not Parquet, or damaged.
    #[error("can't be read as Parquet: it is another file, truncated or damaged; fetch it again ({0})")]
    Format(parquet::errors::ParquetError),
    /// No such column.
    #[error(
        "has no column `{name}` of {kind}; its columns are {found}: name it by `{field}` under `data` in the space"
    )]
    Column {
        /// The column looked for.
        name: String,
        /// What it should hold.
        kind: &'static str,
        /// The columns there are, with their types.
        found: String,
        /// The space's field.
        field: &'static str,
    },
    /// A missing value.
    #[error(
        "has no value in column `{name}` of row {row}: every row needs an image, stored in the file, and a label; remove the row"
    )]
    Null {
        /// The column.
        name: String,
        /// The row, from 0.
        row: usize,
    },
    /// Fewer rows than announced.
    #[error("announces {expected} rows, but column `{name}` holds {found}: it is damaged; fetch it again")]
    Rows {
        /// The column.
        name: String,
        /// Rows by the file's end.
        expected: usize,
        /// Rows found.
        found: usize,
    },
    /// More rows than any part may have.
    #[error("brings the rows to {rows}, more than the {most} that one source may have: use fewer files")]
    TooMany {
        /// Rows of all files so far.
        rows: usize,
        /// The limit.
        most: usize,
    },
    /// No rows at all.
    #[error("holds no rows")]
    Empty,
}
