//! The schema of exporter.yml, for editors: made from the very types that the file is parsed into. What no schema can say, such
//! as that exactly one of three keys is given, only `check-config` knows.

use schemars::generate::SchemaSettings;
use serde_json::Value;

use super::Config;

/// JSON Schema, draft 7: the one that editors know for YAML.
pub fn schema() -> Value {
    // Several vendors have types of one name.
    let whole = SchemaSettings::draft07().with(|settings| settings.inline_subschemas = true);
    whole.into_generator().into_root_schema_for::<Config>().to_value()
}
