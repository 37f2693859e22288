//! The schema of exporter.yml says what the program says, and `docs/configuration.md` what the schema says. The document is
//! written from the schema: `UPDATE_DOCS=1 cargo test --test integration schema`.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::Path;

use boon::{Compiler, Schemas};
use contact_center_exporter::config::schema;
use serde_json::{Map, Value};

use super::config::files;
use super::support::{assert_written, write};

const DOCUMENT: &str = "docs/configuration.md";

const INTRODUCTION: &str = "# exporter.yml, key by key

This page is written from the schema that `contact-center-exporter check-config --schema` prints;
`UPDATE_DOCS=1 cargo test --test integration schema` writes it anew. The commented example is
[exporter.yml](../exporter.yml).

Editors that speak the YAML language server complete and check while you type, if the file begins with

```yaml
# yaml-language-server: $schema=exporter.schema.json
```

Keys are strict: an unknown or repeated one is an error. A duration is written `30s`, `5m`, `1h30m` or `3d`, a rate `50/1m`. A
relative path is relative to the folder of the file. Every secret `x` may be given as `x`, as `x_file` or as `x_env`, exactly
one of them.
";

fn properties(schema: &Value) -> &Map<String, Value> {
    schema["properties"].as_object().unwrap()
}

/// What stands under the key, in a word.
fn kind(schema: &Value) -> String {
    let pattern = schema["pattern"].as_str().unwrap_or_default();
    let names = |variants: &Value| -> Option<String> {
        let names: Option<Vec<_>> =
            variants.as_array()?.iter().map(|one| Some(format!("`{}`", one["const"].as_str()?))).collect();
        Some(names?.join(" or "))
    };
    let of = |name: &str| {
        schema["type"] == name || schema["type"].as_array().is_some_and(|types| types.contains(&name.into()))
    };
    match () {
        () if schema["oneOf"].is_array() => names(&schema["oneOf"]).unwrap(),
        () if schema["anyOf"][0]["const"] == "all" => "`all`, or a list of ids".to_owned(),
        () if pattern.contains("nsec") => "duration".to_owned(),
        () if pattern.contains('/') => "rate".to_owned(),
        () if of("string") => "text".to_owned(),
        () if of("integer") => "number".to_owned(),
        () if of("boolean") => "`true` or `false`".to_owned(),
        () if of("array") => format!("list of {}", kind(&schema["items"])),
        () => panic!("no word for {schema}"),
    }
}

/// Keys with their schemas, those of mappings below them too.
fn rows(prefix: &str, schema: &Value, skip: &BTreeSet<String>) -> Vec<(String, Value, bool)> {
    let required =
        |key: &String| schema["required"].as_array().is_some_and(|all| all.contains(&Value::from(key.as_str())));
    let mut all = Vec::new();
    for (key, value) in properties(schema).iter().filter(|(key, _)| !skip.contains(*key)) {
        let path = format!("{prefix}{key}");
        if value["properties"].is_object() {
            all.extend(rows(&format!("{path}."), value, &BTreeSet::new()));
        } else {
            all.push((path, value.clone(), required(key)));
        }
    }
    all
}

fn table(rows: &[(String, Value, bool)]) -> String {
    let mut text = "| Key | Value | Default | Meaning |\n| --- | --- | --- | --- |\n".to_owned();
    for (key, schema, required) in rows {
        let default = match &schema["default"] {
            _ if *required => "required".to_owned(),
            Value::Null => String::new(),
            Value::String(text) => format!("`{text}`"),
            other => format!("`{other}`"),
        };
        let meaning = schema["description"].as_str().unwrap_or_default().replace('\n', " ");
        assert!(!meaning.is_empty(), "{key} means nothing");
        let _ = writeln!(text, "| `{key}` | {} | {default} | {meaning} |", kind(schema));
    }
    text
}

/// The keys that all of these have.
fn common<'a>(mut schemas: impl Iterator<Item = &'a Value>) -> BTreeSet<String> {
    let keys = |schema: &Value| properties(schema).keys().cloned().collect::<BTreeSet<_>>();
    let first = keys(schemas.next().unwrap());
    schemas.fold(first, |common, one| &common & &keys(one))
}

fn document(schema: &Value) -> String {
    let top = BTreeSet::from(["vendors".to_owned()]);
    let mut text = format!("{INTRODUCTION}\n## The whole file\n\n{}", table(&rows("", schema, &top)));
    text.push_str("| `vendors.<vendor>` | list of accounts | required | The accounts, by vendor. |\n");
    let vendors: Vec<_> =
        properties(&schema["properties"]["vendors"]).iter().map(|(name, list)| (name, &list["items"])).collect();
    let reports = |account: &Value| properties(&account["properties"]["reports"]).clone();
    let any_account = common(vendors.iter().map(|(_, account)| *account));
    let all: Vec<_> =
        vendors.iter().flat_map(|(_, account)| reports(account).into_iter().map(|(_, report)| report)).collect();
    let any_report = common(all.iter());

    // Said once; what differs is said with the vendor.
    let shared = |keys: &BTreeSet<String>, not: &[&str], of: &Value| {
        let mut rows = rows("", of, &BTreeSet::new());
        rows.retain(|(key, ..)| keys.contains(key.split('.').next().unwrap()) && !not.contains(&key.as_str()));
        rows
    };
    let mut account = vendors[0].1.clone();
    account["properties"].as_object_mut().unwrap().remove("reports");
    let _ = write!(text, "\n## Any account\n\n{}", table(&shared(&any_account, &["base_url"], &account)));
    let _ = write!(
        text,
        "\n## Any report\n\nA report that is not listed under `reports` is not polled; `{{}}` takes all defaults. Default intervals stand with the reports.\n\n{}",
        table(&shared(&any_report, &["interval"], &all[0]))
    );
    text.push_str("| `interval` | duration | see the report | Time between two polls, from 1s. |\n");
    for (vendor, account) in vendors {
        let mut skip = any_account.clone();
        skip.remove("base_url");
        let _ = write!(text, "\n## {vendor}\n\n{}", table(&rows("", account, &skip)));
        for (name, report) in reports(account) {
            let mut own = rows("", &report, &any_report);
            own.insert(0, ("interval".to_owned(), report["properties"]["interval"].clone(), false));
            let _ = write!(text, "\n### `{name}`\n\n{}\n\n{}", report["description"].as_str().unwrap(), table(&own));
        }
    }
    text
}

#[test]
fn the_document_is_that_of_the_schema() {
    assert_written(DOCUMENT, &document(&schema()));
}

/// Why the schema does not take what is written there; none if it does, or if that is no YAML.
fn refusal(file: &Path) -> Option<String> {
    let value: Value = serde_yaml::from_str(&std::fs::read_to_string(file).unwrap()).ok()?;
    let (mut schemas, mut compiler) = (Schemas::new(), Compiler::new());
    compiler.add_resource("exporter.schema.json", schema()).unwrap();
    let schema = compiler.compile("exporter.schema.json", &mut schemas).unwrap();
    schemas.validate(&value, schema).err().map(|error| error.to_string())
}

#[test]
fn the_schema_takes_what_the_program_takes() {
    for file in files("tests/config/good").iter().map(Path::new).chain([Path::new("exporter.yml")]) {
        assert_eq!(refusal(file), None, "{}", file.display());
    }
}

#[test]
fn the_schema_takes_every_duration_that_the_program_takes() {
    let folder = tempfile::tempdir().unwrap();
    let answers = |duration: &str| {
        let report = format!("agent_hold_mute: {{ settle: '{duration}' }}");
        let account = format!("{{ account: co, server: '0010', token: t, reports: {{ {report} }} }}");
        let file = write(folder.path(), "exporter.yml", format!("vendors: {{ wolkvox: [{account}] }}"));
        (contact_center_exporter::config::load(&file).map(drop).map_err(|error| error.to_string()), refusal(&file))
    };
    // All of humantime's.
    let units = "nanos nsec ns usec us µs millis msec ms seconds second secs sec s minutes minute min mins m hours hour hr hrs h days day d weeks week wk wks w months month M years year yr yrs y";
    let counted = units.split(' ').flat_map(|unit| [format!("1{unit}"), format!(" 1 {unit} ")]);
    let others = ["1h30m", "2h 37min", "1.5h", "0.5 days 10s"].map(str::to_owned);
    for duration in counted.chain(others) {
        assert_eq!(answers(&duration), (Ok(()), None), "{duration}");
    }
    for duration in ["", "0", "5", "h", "5 minuts", "1.h", ".5h", "-5m", "5m,", "1sm"] {
        let (program, schema) = answers(duration);
        assert!(program.is_err() && schema.is_some(), "{duration}: {program:?} {schema:?}");
    }
}

#[test]
fn the_schema_refuses_unknown_keys_and_wrong_types() {
    let mut refused = 0;
    for file in files("tests/config/bad") {
        let answer = std::fs::read_to_string(file.with_extension("err")).unwrap();
        // What parsing refuses stands at a column; a schema sees neither what is no YAML, nor what stands there
        // twice, nor how long a duration is.
        let is_yaml = serde_yaml::from_str::<Value>(&std::fs::read_to_string(&file).unwrap()).is_ok();
        if is_yaml
            && answer.contains(", column ")
            && !["duplicate entry", "at most a year"].iter().any(|words| answer.contains(words))
        {
            assert!(refusal(&file).is_some(), "{}: {answer}", file.display());
            refused += 1;
        }
    }
    assert!(refused >= 10, "{refused}");
}
