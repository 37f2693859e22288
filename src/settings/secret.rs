//! Secrets are a type and a place: `x` in the file itself, `x_file` or `x_env`, exactly one of them. The value never
//! prints; an error names the key and the file or variable.

use std::path::{Path, PathBuf};

use secrecy::{ExposeSecret, SecretString};

use super::SetupError;
use super::places::Problems;

/// What is no secret itself but may hold one, such as a URL or a command line: it never prints.
#[derive(Clone, serde::Deserialize, schemars::JsonSchema)]
#[serde(transparent)]
pub struct Hidden<T>(pub T);

/// Where one secret comes from.
#[derive(Debug, Clone)]
pub struct SecretSource<'a> {
    /// The key without `_file` or `_env`.
    pub key: &'static str,
    /// `x`
    pub inline: Option<&'a SecretString>,
    /// `x_file`
    pub file: Option<&'a PathBuf>,
    /// `x_env`
    pub env: Option<&'a String>,
}

impl<T> std::ops::Deref for Hidden<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T> std::fmt::Debug for Hidden<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("…")
    }
}

impl SecretSource<'_> {
    /// Exactly one of the three is given, and a file that is missing is worth a warning.
    pub fn check(&self, at: &str, folder: &Path, problems: &mut Problems) {
        let Self { key, inline, file, env } = self;
        let given = usize::from(inline.is_some()) + usize::from(file.is_some()) + usize::from(env.is_some());
        if given != 1 {
            problems.add(at, format!("give exactly one of {key}, {key}_file and {key}_env"));
        }
        if inline.is_some_and(|value| value.expose_secret().is_empty()) {
            problems.add(&format!("{at}.{key}"), "the secret is empty");
        }
        if let Some(path) = file {
            problems.check_secret_file(&format!("{at}.{key}_file"), &folder.join(path));
        }
    }

    /// The value.
    pub fn read(&self, at: &str, folder: &Path) -> Result<SecretString, SetupError> {
        let Self { key, inline, file, env } = self;
        let fail = |suffix: &str, message: String| SetupError { path: format!("{at}.{key}{suffix}"), message };
        let value = match (inline, file, env) {
            (Some(value), None, None) => (*value).clone(),
            (None, Some(path), None) => {
                let path = folder.join(path);
                let text = std::fs::read_to_string(&path).map_err(|error| {
                    fail("_file", format!("cannot read {}: {}", path.display(), super::unreadable(&error)))
                })?;
                SecretString::from(text.trim_end_matches(['\r', '\n']))
            }
            (None, None, Some(name)) => std::env::var(name)
                .map(SecretString::from)
                .map_err(|_| fail("_env", format!("environment variable {name} is not set")))?,
            _ => return Err(fail("", format!("give exactly one of {key}, {key}_file and {key}_env"))),
        };
        if value.expose_secret().is_empty() {
            return Err(fail("", "the secret is empty".to_owned()));
        }
        Ok(value)
    }
}
