//! exporter.yml: parsed strictly, then checked as a whole. Parsing stops at the first syntax error, unknown key or
//! wrong type, with line and column; all other problems are collected and listed together, each with its line and
//! key path. What a vendor's own keys mean is said in the vendor's room; what every account and report may carry, in
//! `settings`.

mod check;
mod digest;
pub mod load;
mod parse_error;
pub mod plan;
mod schema;

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::Deserialize;

pub use digest::Digest;
pub use load::{ConfigError, Loaded, load};
pub use schema::schema;

use crate::settings::AgentLabel;
use crate::vendors::Vendors;

/// The whole file.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Where counters are kept.
    #[serde(default)]
    pub state: State,
    /// How labels are written.
    #[serde(default)]
    pub labels: Labels,
    /// The accounts, by vendor.
    pub vendors: Vendors,
}

/// `state:`
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct State {
    /// Directory, made if missing; relative to the file's folder. Left out: `./state` of the working directory.
    pub path: Option<PathBuf>,
}

/// `labels:`
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Labels {
    /// What stands in the label `agent`.
    #[serde(default)]
    pub agent: AgentLabel,
    /// HMAC-SHA256 key of `agent: pseudonym`.
    #[schemars(with = "Option<String>")]
    pub pseudonym_key: Option<secrecy::SecretString>,
    /// The key in a file.
    pub pseudonym_key_file: Option<PathBuf>,
    /// The key in an environment variable.
    pub pseudonym_key_env: Option<String>,
}
