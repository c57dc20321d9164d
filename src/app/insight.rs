//! What is known of the split layers and of every design in closed form, with its progress shown.

use std::collections::HashMap;
use std::ops::ControlFlow;
use std::sync::Once;
use std::time::Instant;

use super::progress::Progress;
use super::{AppError, interrupt};
use crate::estimate::Laboratory;
use crate::space::{Candidates, Cost, LayerInsight, Space};

/// Seconds that a stage may take before it is announced.
const UNANNOUNCED: f64 = 1.0;

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

/// Every design whose cost `keep` admits.
pub(super) fn candidates<'a>(
    space: &'a Space,
    insights: &'a HashMap<&'static str, LayerInsight>,
    keep: impl Fn(&Cost) -> bool,
    progress: &Progress,
) -> Result<Candidates<'a>, AppError> {
    const STAGE: &str = "closed-form figures of every design";
    let (start, announced) = (Instant::now(), Once::new());
    let watch = |done| {
        if start.elapsed().as_secs_f64() > UNANNOUNCED {
            announced.call_once(|| progress.stage(STAGE));
            progress.fraction(STAGE, done);
        }
        if interrupt::requested() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    };
    Ok(space.candidates(insights, keep, &watch)?)
}
