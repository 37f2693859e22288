//! From a path to a configuration that can be used, or to everything that is wrong with it. The order is: read, parse
//! (which stops at the first error), check (which collects them all), plan. Secrets are not read here; a missing
//! file is a warning, because the machine that checks need not be the one that runs.

use std::path::{Path, PathBuf};

use super::digest::{self, Digest};
use super::plan::Plan;
use super::{Config, check, parse_error};
use crate::settings::{Hidden, Problem, Problems};

/// A configuration without errors.
#[derive(Debug)]
pub struct Loaded {
    /// The file.
    pub file: PathBuf,
    /// What it says.
    pub config: Config,
    /// Its folder, for relative paths.
    pub folder: PathBuf,
    /// Reasons to look again.
    pub warnings: Vec<Problem>,
    /// What it costs in requests, and whether that fits.
    pub plan: Plan,
    tree: Hidden<serde_yaml::Value>,
}

/// Why a file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// It cannot be read.
    #[error("{file}: {message}")]
    Read {
        /// The file.
        file: String,
        /// What the system says.
        message: String,
    },
    /// No YAML, an unknown or duplicate key, or a wrong type.
    #[error("{file}: line {line}, column {column}: {message}")]
    Parse {
        /// The file.
        file: String,
        /// From 1.
        line: usize,
        /// From 1.
        column: usize,
        /// What is wrong and what is accepted, without any value of the file.
        message: String,
    },
    /// Everything else, all together.
    #[error("{file}: {}{}", counted(.errors), listed(.errors))]
    Check {
        /// The file.
        file: String,
        /// Reasons to refuse it.
        errors: Vec<Problem>,
        /// Reasons to look again.
        warnings: Vec<Problem>,
    },
}

/// A file that is YAML of the wanted shape; what it says is not checked yet.
pub(crate) struct Parsed<T> {
    /// Its name, for messages.
    pub(crate) file: String,
    /// As it stands.
    pub(crate) text: String,
    /// The same, unread.
    pub(crate) tree: serde_yaml::Value,
    /// The same, read.
    pub(crate) value: T,
}

/// Reads a file, up to the first thing that is not of the shape of `T`.
pub(crate) fn parse<T: serde::de::DeserializeOwned>(path: &Path) -> Result<Parsed<T>, ConfigError> {
    let file = path.display().to_string();
    let text = std::fs::read_to_string(path).map_err(|error| ConfigError::Read {
        file: file.clone(),
        message: format!("cannot be read: {}", crate::settings::unreadable(&error)),
    })?;
    let parse_error = |error: serde_yaml::Error| {
        let (line, column, message) = parse_error::explain(&error, &text);
        ConfigError::Parse { file: file.clone(), line, column, message }
    };
    // First as it stands: a slip of the syntax would otherwise pass for whatever key it makes unreadable.
    let tree: serde_yaml::Value = serde_yaml::from_str(&text).map_err(parse_error)?;
    let value = serde_yaml::from_str(&text).map_err(parse_error)?;
    Ok(Parsed { file, text, tree, value })
}

/// Reads and checks the whole file.
pub fn load(path: &Path) -> Result<Loaded, ConfigError> {
    let Parsed { file, text, tree, value: config } = parse::<Config>(path)?;
    let folder = path.parent().unwrap_or(Path::new("")).to_owned();
    let mut problems = Problems { folder: folder.clone(), ..Problems::default() };
    check::check(&config, &tree, &mut problems);
    problems.locate(&text);
    let Problems { errors, mut warnings, .. } = problems;
    warnings.sort_by_key(|problem| problem.line);
    if !errors.is_empty() {
        return Err(ConfigError::Check { file, errors, warnings });
    }

    let mut plan = Plan::of(&config);
    plan.problems.locate(&text);
    Ok(Loaded { file: path.to_owned(), config, folder, warnings, plan, tree: Hidden(tree) })
}

fn counted(problems: &[Problem]) -> String {
    if problems.len() == 1 { "1 problem".to_owned() } else { format!("{} problems", problems.len()) }
}

fn listed(problems: &[Problem]) -> String {
    problems.iter().flat_map(|problem| ["\n  ".to_owned(), problem.to_string()]).collect()
}

// === impl Loaded ===

impl Loaded {
    /// Equal to that of another configuration if the account is polled in the same way. Reads the secrets' files.
    pub fn digest(&self, vendor: &str, account: &str) -> Digest {
        digest::digest(&self.tree, &self.folder, vendor, account)
    }

    /// Logs what is worth a look.
    pub fn tell_warnings(&self) {
        for warning in self.warnings.iter().chain(&self.plan.problems.errors).chain(&self.plan.problems.warnings) {
            tracing::warn!(file = %self.file.display(), %warning, "configuration");
        }
    }

    /// Where counters are kept: relative to the file's folder, or, where the file does not say, `state` of the working
    /// directory.
    pub fn state_path(&self) -> PathBuf {
        self.config.state.path.as_ref().map_or_else(|| PathBuf::from("state"), |path| self.folder.join(path))
    }
}
