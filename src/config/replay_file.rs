//! The budget of a `replay`: which columns of a table are parameters, objectives and constraints.

use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{ConfigError, Strategy, yaml};

/// A validated budget over the columns of a table.
#[derive(Debug, Clone)]
pub struct ReplayFile {
    /// Where it was read.
    pub path: PathBuf,
    /// Its text.
    pub text: String,
    /// Columns of numbers that describe a design to the models.
    pub parameters: Vec<String>,
    /// Column of names without an order, such as the split layer.
    pub category: Option<String>,
    /// Columns whose equal values make a group of designs, such as split and depth: for `hierarchical`.
    pub groups: Vec<String>,
    /// One, or two for a front.
    pub objectives: Vec<ObjectiveEntry>,
    /// Every bound.
    pub constraints: Vec<ConstraintEntry>,
    /// Which designs are measured.
    pub strategy: Strategy,
    /// Measurements before the models propose; by the number of parameters and evaluations where absent.
    pub initial: Option<usize>,
}

/// What is sought.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ObjectiveEntry {
    /// The column.
    pub column: String,
    /// Which way is better.
    pub goal: Goal,
    /// What the hypervolume of a front is counted from: worse than any value worth having.
    pub reference: Option<f64>,
    /// Column of standard errors.
    pub std_error: Option<String>,
    /// Scale on which the column is modelled.
    #[serde(default)]
    pub scale: Scale,
}

/// Which way is better.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Goal {
    /// The larger, the better.
    Maximize,
    /// The smaller, the better.
    Minimize,
}

/// Scale on which a column is modelled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Scale {
    /// As it is.
    #[default]
    Linear,
    /// Logarithm of positive numbers.
    Log,
    /// Logit of shares between 0 and 1.
    Logit,
}

/// A bound.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("oneOf" = [{"required": ["max"]}, {"required": ["min"]}]))]
pub struct ConstraintEntry {
    /// The column.
    pub column: String,
    /// Largest value allowed.
    pub max: Option<f64>,
    /// Smallest value allowed.
    pub min: Option<f64>,
    /// Whether the column is known before measuring, as costs are.
    #[serde(default)]
    pub exact: bool,
    /// Column of standard errors.
    pub std_error: Option<String>,
}

/// The file as it is written; its comments are what an editor shows of a key.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(
    title = "PrivyNet replay budget",
    description = "Which columns of a table are parameters, objectives and constraints."
)]
pub(super) struct Raw {
    /// Columns of numbers that describe a design to the models.
    parameters: Vec<String>,
    /// Column of names without an order, such as the split layer.
    category: Option<String>,
    /// Columns whose equal values make a group of designs, such as split and depth: for `hierarchical`.
    #[serde(default)]
    groups: Vec<String>,
    /// One, or two for a front.
    #[schemars(length(min = 1, max = 2))]
    objectives: Vec<ObjectiveEntry>,
    /// Every bound.
    #[serde(default)]
    constraints: Vec<ConstraintEntry>,
    /// Which rows are looked up.
    #[serde(default)]
    strategy: Strategy,
    /// Rows looked up before the models propose; by the number of parameters and evaluations where absent.
    #[schemars(range(min = 1))]
    initial: Option<usize>,
}

impl ReplayFile {
    /// That a table lacks the column `column`; `None` where it isn't this file that names it. `problem` says what the table has.
    pub fn lacking(&self, column: &str, problem: &str) -> Option<ConfigError> {
        let among = |names: &[String]| names.iter().any(|name| name == column);
        let named = |name: &str, std_error: &Option<String>| name == column || std_error.as_deref() == Some(column);
        let field = if among(&self.parameters) {
            "parameters"
        } else if self.category.as_deref() == Some(column) {
            "category"
        } else if among(&self.groups) {
            "groups"
        } else if self.objectives.iter().any(|entry| named(&entry.column, &entry.std_error)) {
            "objectives"
        } else if self.constraints.iter().any(|entry| named(&entry.column, &entry.std_error)) {
            "constraints"
        } else {
            return None;
        };
        Some(ConfigError::field(&self.path, field, column, problem).located(&self.text))
    }

    /// Reads and validates the file at `path`; that its columns exist is for the table to say.
    ///
    /// # Errors
    /// [`ConfigError`] with the file, the line or field, the value and what is accepted.
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        let (raw, text) = yaml::read::<Raw>(path)?;
        let error =
            |field: &str, value: String, problem: &str| ConfigError::field(path, field, value, problem).located(&text);
        if raw.parameters.is_empty() && raw.category.is_none() {
            return Err(error("parameters", "none".to_owned(), "name the columns that tell designs apart"));
        }
        if !(1..=2).contains(&raw.objectives.len()) {
            let found = format!("{} of them", raw.objectives.len());
            return Err(error("objectives", found, "give one objective, or two for a front"));
        }
        for objective in &raw.objectives {
            let field = format!("objectives.{}.reference", objective.column);
            match objective.reference {
                None if raw.objectives.len() == 2 => {
                    let problem =
                        "a front's hypervolume needs a reference: a value that is worse than any worth having";
                    return Err(error(&field, "missing".to_owned(), problem));
                }
                Some(value) if !value.is_finite() => {
                    return Err(error(&field, value.to_string(), "must be a finite number"));
                }
                _ => {}
            }
        }
        for constraint in &raw.constraints {
            let field = format!("constraints.{}", constraint.column);
            let problem = "give either `max` or `min`; a column with both limits is written twice";
            let (limit, key) = match (constraint.max, constraint.min) {
                (Some(limit), None) => (limit, "max"),
                (None, Some(limit)) => (limit, "min"),
                (Some(_), Some(_)) => return Err(error(&field, "max and min".to_owned(), problem)),
                (None, None) => return Err(error(&field, "no limit".to_owned(), problem)),
            };
            if !limit.is_finite() {
                return Err(error(&format!("{field}.{key}"), limit.to_string(), "must be a finite number"));
            }
        }
        if raw.initial == Some(0) {
            return Err(error("initial", "0".to_owned(), "must be at least 1: models learn from measurements"));
        }
        Ok(Self {
            path: path.to_owned(),
            text,
            parameters: raw.parameters,
            category: raw.category,
            groups: raw.groups,
            objectives: raw.objectives,
            constraints: raw.constraints,
            strategy: raw.strategy,
            initial: raw.initial,
        })
    }
}
