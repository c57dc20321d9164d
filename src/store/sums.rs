//! What the journal says of side files.

use std::collections::HashMap;

use super::Event;

/// Checksums of side files by name.
#[derive(Debug, Default)]
pub(super) struct Sums(HashMap<String, String>);

impl Sums {
    pub(super) fn of(events: &[Event]) -> Self {
        let mut sums = Self::default();
        events.iter().for_each(|event| sums.learn(event));
        sums
    }

    pub(super) fn learn(&mut self, event: &Event) {
        if let Event::Evaluation(evaluation) = event {
            self.0.extend(evaluation.files.iter().map(|(name, sum)| (name.clone(), sum.clone())));
        }
    }

    /// A file was replaced, which the journal doesn't say yet.
    pub(super) fn forget(&mut self, name: &str) {
        self.0.remove(name);
    }

    /// `None` where nothing is known of the file, as in journals of older versions.
    pub(super) fn of_file(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }
}
