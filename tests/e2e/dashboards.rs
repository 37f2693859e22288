//! The dashboards as their JSON files are: panels, queries and variables, and what Grafana would put in a variable's place.

use std::path::{Path, PathBuf};

use serde_json::Value;

/// One file of `grafana/dashboards`.
pub(crate) struct Dashboard {
    pub(crate) file: String,
    pub(crate) json: Value,
}

/// One panel, rows left out.
pub(crate) struct Panel<'a> {
    pub(crate) id: u64,
    pub(crate) kind: &'a str,
    pub(crate) title: &'a str,
    pub(crate) json: &'a Value,
}

/// A folder of the project.
pub(crate) fn folder(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// The files of a folder of the project that end so, in order.
pub(crate) fn files(path: &str, end: &str) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder(path)).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<_> = entries.filter(|path| path.to_str().unwrap().ends_with(end)).collect();
    files.sort();
    assert!(!files.is_empty(), "{path} is empty");
    files
}

/// Every dashboard.
pub(crate) fn all() -> Vec<Dashboard> {
    let read = |path: PathBuf| {
        let json = serde_json::from_str(&std::fs::read_to_string(&path).unwrap());
        Dashboard {
            file: path.file_name().unwrap().to_str().unwrap().to_owned(),
            json: json.unwrap_or_else(|error| panic!("{}: {error}", path.display())),
        }
    };
    files("grafana/dashboards", ".json").into_iter().map(read).collect()
}

/// The elements, none if it is no list.
pub(crate) fn list(json: &Value) -> &[Value] {
    json.as_array().map_or(&[], Vec::as_slice)
}

/// The text, empty if it is none.
pub(crate) fn text(json: &Value) -> &str {
    json.as_str().unwrap_or_default()
}

impl Dashboard {
    pub(crate) fn panels(&self) -> Vec<Panel<'_>> {
        let panels = list(&self.json["panels"]).iter().filter(|json| json["type"] != "row");
        panels
            .map(|json| Panel {
                id: json["id"].as_u64().unwrap_or_default(),
                kind: text(&json["type"]),
                title: text(&json["title"]),
                json,
            })
            .collect()
    }

    pub(crate) fn variables(&self) -> &[Value] {
        list(&self.json["templating"]["list"])
    }

    /// The queries of variables that ask Prometheus, with the variable's name.
    pub(crate) fn variable_queries(&self) -> impl Iterator<Item = (&str, &str)> {
        let asked = self.variables().iter().filter(|variable| variable["type"] == "query");
        asked.map(|variable| (text(&variable["name"]), text(&variable["query"]["query"])))
    }
}

impl<'a> Panel<'a> {
    /// Each query with its letter.
    pub(crate) fn queries(&self) -> impl Iterator<Item = (&'a str, &'a str)> {
        list(&self.json["targets"]).iter().map(|target| (text(&target["refId"]), text(&target["expr"])))
    }

    pub(crate) fn unit(&self) -> &'a str {
        text(&self.json["fieldConfig"]["defaults"]["unit"])
    }
}

/// What Grafana puts in the place of variables: of a list of values, those of `values`, else everything.
pub(crate) fn expand(query: &str, values: &[(&str, &str)]) -> String {
    let mut query = query.to_owned();
    let time = [("__rate_interval", "10m"), ("__range", "24h"), ("__interval", "5m"), ("window", "1h")];
    for (name, value) in values.iter().chain(&time) {
        query = query.replace(&format!("${name}"), value);
    }
    for name in ["job", "instance", "vendor", "account", "agent", "campaign", "queue"] {
        query = query.replace(&format!("\"${name}\""), "\".*\"");
    }
    assert!(!query.contains('$') || query.contains("\"$1\""), "an unknown variable: {query}");
    query
}
