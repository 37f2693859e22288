//! Where in exporter.yml a problem lies. The YAML reader keeps no lines, so key paths are looked up in a second parse
//! that does.

use std::fmt;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use marked_yaml::Node;

/// The mode of a file that any user of the machine can read.
const READABLE_BY_OTHERS: u32 = 0o004;

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Key path, such as `vendors.ozonetel[0].timeout`.
    pub path: String,
    /// Line in the file, from 1.
    pub line: Option<usize>,
    /// What is wrong, and what is accepted.
    pub message: String,
}

/// Everything that is wrong, and what is only worth a warning.
#[derive(Debug, Default)]
pub struct Problems {
    /// Reasons to refuse the file.
    pub errors: Vec<Problem>,
    /// Reasons to look again.
    pub warnings: Vec<Problem>,
    /// Folder of the file, against which relative paths are meant.
    pub folder: std::path::PathBuf,
}

impl Problems {
    /// A reason to refuse the file.
    pub fn add(&mut self, path: &str, message: impl Into<String>) {
        self.errors.push(Problem { path: path.to_owned(), line: None, message: message.into() });
    }

    /// A reason to look again.
    pub fn warn(&mut self, path: &str, message: impl Into<String>) {
        self.warnings.push(Problem { path: path.to_owned(), line: None, message: message.into() });
    }

    /// A secret that is not there, or that everybody on the machine can read, is worth a warning.
    pub fn check_secret_file(&mut self, at: &str, path: &Path) {
        if path.exists() {
            self.check_exposed(at, path);
        } else {
            self.warn(at, format!("no such file: {}", path.display()));
        }
    }

    /// The same, where its absence is told elsewhere.
    pub fn check_exposed(&mut self, at: &str, path: &Path) {
        if std::fs::metadata(path).is_ok_and(|file| file.mode() & READABLE_BY_OTHERS != 0) {
            self.warn(at, format!("others can read {0}: chmod 600 {0}", path.display()));
        }
    }

    /// Fills in the lines from the text of the file.
    pub fn locate(&mut self, text: &str) {
        if self.errors.is_empty() && self.warnings.is_empty() {
            return;
        }
        let Ok(root) = marked_yaml::parse_yaml(0, text) else { return };
        for problem in self.errors.iter_mut().chain(&mut self.warnings) {
            problem.line = line_of(&root, &problem.path);
        }
        self.errors.sort_by_key(|problem| problem.line);
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(line) = self.line {
            write!(f, "line {line}: ")?;
        }
        write!(f, "{}: {}", self.path, self.message)
    }
}

/// The line of the deepest part of `path` that stands in the file.
fn line_of(root: &Node, path: &str) -> Option<usize> {
    let mut node = root;
    let mut line = None;
    for part in path.split('.') {
        let (name, indices) = part.split_once('[').map_or((part, ""), |(name, rest)| (name, rest));
        let Some((key, value)) = node.as_mapping().and_then(|map| map.iter().find(|(key, _)| key.as_str() == name))
        else {
            return line;
        };
        line = key.span().start().map(marked_yaml::Marker::line).or(line);
        node = value;
        for index in indices.split(['[', ']']).filter_map(|text| text.parse::<usize>().ok()) {
            let Some(item) = node.as_sequence().and_then(|list| list.get(index)) else { return line };
            line = item.span().start().map(marked_yaml::Marker::line).or(line);
            node = item;
        }
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_line_of_a_key_path() {
        let text = "state:\n  path: x\nvendors:\n  huawei:\n    - account: a\n      timeout: 1s\n    - account: b\n      timeout: 0s\n";
        let mut problems = Problems::default();
        problems.add("vendors.huawei[1].timeout", "zero");
        problems.add("vendors.huawei[1].base_url", "missing");
        problems.add("labels.agent", "missing");
        problems.locate(text);
        let lines: Vec<_> = problems.errors.iter().map(|problem| (problem.path.as_str(), problem.line)).collect();
        assert_eq!(
            lines,
            [("labels.agent", None), ("vendors.huawei[1].base_url", Some(7)), ("vendors.huawei[1].timeout", Some(8))]
        );
    }
}
