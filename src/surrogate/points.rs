//! Many designs as a model sees them, in one block of memory.

/// Designs as continuous features and a category each.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Points {
    width: usize,
    /// Row-major, shape `[n, width]`.
    features: Vec<f64>,
    categories: Vec<u32>,
}

impl Points {
    /// No design yet; each will have `width` features.
    pub fn new(width: usize) -> Self {
        Self { width, features: Vec::new(), categories: Vec::new() }
    }

    /// As [`new`](Self::new), with memory for `count` designs.
    pub fn with_capacity(width: usize, count: usize) -> Self {
        Self { width, features: Vec::with_capacity(width * count), categories: Vec::with_capacity(count) }
    }

    /// Adds a design.
    ///
    /// # Panics
    /// If `features` is of another width.
    pub fn push(&mut self, features: &[f64], category: usize) {
        assert_eq!(features.len(), self.width, "every design has the same features");
        self.features.extend_from_slice(features);
        self.categories.push(u32::try_from(category).unwrap_or(u32::MAX));
    }

    /// Number of designs.
    pub fn len(&self) -> usize {
        self.categories.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.categories.is_empty()
    }

    /// Number of features of a design.
    pub fn width(&self) -> usize {
        self.width
    }

    /// Features of design `index`, shape `[width]`.
    pub fn features(&self, index: usize) -> &[f64] {
        &self.features[index * self.width..(index + 1) * self.width]
    }

    /// Category of design `index`.
    pub fn category(&self, index: usize) -> usize {
        self.categories[index] as usize
    }
}
