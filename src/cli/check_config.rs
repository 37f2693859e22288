//! `check-config`: everything that is wrong with a file, or its request plan, as text or JSON. What is wrong is decided in
//! [`crate::config`]; here it is only written down.

use std::fmt::Write as _;
use std::path::Path;

use serde_json::{Value, json};

use super::{EXIT_CONFIG, PlanFormat};
use crate::config::{self, ConfigError, Loaded};
use crate::settings::Problem;

/// The exit code and what to print.
pub fn check_config(file: &Path, format: PlanFormat) -> (u8, String) {
    let loaded = config::load(file);
    let fits = loaded.as_ref().is_ok_and(|loaded| loaded.plan.problems.errors.is_empty());
    let text = match format {
        PlanFormat::Table => text(file, &loaded),
        PlanFormat::Json => format!("{:#}\n", value(file, &loaded)),
    };
    (if fits { 0 } else { EXIT_CONFIG }, text)
}

fn text(file: &Path, loaded: &Result<Loaded, ConfigError>) -> String {
    let mut text = match loaded {
        Ok(Loaded { plan, .. }) => {
            let verdict = if plan.problems.errors.is_empty() { "valid" } else { "the requests cannot fit the limits" };
            format!("{}: {verdict}\n\n{}", file.display(), plan.table())
        }
        Err(error) => format!("{error}\n"),
    };
    let (errors, warnings) = match loaded {
        Ok(Loaded { warnings, plan, .. }) => {
            (plan.problems.errors.as_slice(), warnings.iter().chain(&plan.problems.warnings).collect())
        }
        Err(ConfigError::Check { warnings, .. }) => (&[][..], warnings.iter().collect()),
        Err(_) => (&[][..], Vec::new()),
    };
    if loaded.is_ok() && errors.len() + warnings.len() > 0 {
        text.push('\n');
    }
    for problem in errors {
        let _ = writeln!(text, "error: {problem}");
    }
    for problem in warnings {
        let _ = writeln!(text, "warning: {problem}");
    }
    text
}

fn value(file: &Path, loaded: &Result<Loaded, ConfigError>) -> Value {
    let list = |problems: &[Problem]| -> Vec<Value> {
        problems.iter().map(|p| json!({"path": p.path, "line": p.line, "message": p.message})).collect()
    };
    let (errors, warnings, plan) = match loaded {
        Ok(Loaded { warnings, plan, .. }) => {
            (list(&plan.problems.errors), [list(warnings), list(&plan.problems.warnings)].concat(), plan.json())
        }
        Err(ConfigError::Check { errors, warnings, .. }) => (list(errors), list(warnings), json!([])),
        Err(ConfigError::Parse { line, column, message, .. }) => {
            (vec![json!({"line": line, "column": column, "message": message})], Vec::new(), json!([]))
        }
        Err(ConfigError::Read { message, .. }) => (vec![json!({ "message": message })], Vec::new(), json!([])),
    };
    json!({"file": file.display().to_string(), "errors": errors, "warnings": warnings, "plan": plan})
}
