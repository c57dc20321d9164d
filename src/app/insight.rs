//! What is known of the split layers in closed form, with its progress shown.

use std::collections::HashMap;

use super::progress::Progress;
use super::{AppError, interrupt};
use crate::estimate::Laboratory;
use crate::space::{LayerInsight, Space};

/// Features and closed-form channel scores of the layers `names`.
pub(super) fn insights(
    laboratory: &Laboratory,
    space: &Space,
    names: &[&'static str],
    progress: &Progress,
) -> Result<HashMap<&'static str, LayerInsight>, AppError> {
    progress.stage("features of the local net");
    laboratory.prepare(names, interrupt::flag(), &mut |done| {
        progress.fraction("features of the local net", done);
    })?;
    let mut insights = HashMap::new();
    for &name in names {
        progress.stage(&format!("channel scores of {name}"));
        if interrupt::requested() {
            return Err(crate::features::FeatureError::Interrupted.into());
        }
        insights.insert(name, laboratory.insight(name, space.selections(), space.deepest(name))?);
    }
    Ok(insights)
}
