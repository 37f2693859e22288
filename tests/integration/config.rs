//! Files of configuration: `good` ones load, `bad` ones are answered with exactly the text beside them, and no answer
//! shows a value that stands in place of a secret.

use std::path::{Path, PathBuf};

use contact_center_exporter::cli::{EXIT_CONFIG, PlanFormat, check_config};
use contact_center_exporter::config::load;

use super::support::write;

pub(crate) fn files(folder: &str) -> Vec<PathBuf> {
    let mut files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|file| file.extension().is_some_and(|extension| extension == "yml"));
    files.sort();
    assert!(!files.is_empty());
    files
}

#[test]
fn good_files_load_without_a_word() {
    for file in files("tests/config/good") {
        let loaded = load(&file).unwrap();
        assert!(loaded.warnings.is_empty(), "{}: {:?}", file.display(), loaded.warnings);
        assert_eq!(check_config(&file, PlanFormat::Table).0, 0, "{}", file.display());
    }
}

#[test]
fn bad_files_are_answered_with_the_text_beside_them() {
    for file in files("tests/config/bad") {
        let expected = std::fs::read_to_string(file.with_extension("err")).unwrap_or_default();
        let (code, text) = check_config(&file, PlanFormat::Table);
        assert_eq!(code, EXIT_CONFIG, "{}", file.display());
        assert_eq!(text, expected, "{}", file.display());
        assert!(!text.contains("hunter2"), "{text}");
        let (code, json) = check_config(&file, PlanFormat::Json);
        assert_eq!(code, EXIT_CONFIG, "{}", file.display());
        let json: serde_json::Value = serde_json::from_str(&json).unwrap();
        assert_ne!(json["errors"].as_array().map_or(0, Vec::len), 0, "{}", file.display());
    }
}

/// Each key that names a file of secrets.
#[test]
fn secrets_that_others_can_read_are_worth_a_warning() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = tempfile::tempdir().unwrap();
    let yaml = "labels: { agent: pseudonym, pseudonym_key_file: secret }
vendors:
  ozonetel: [{ account: a, user_name: u, api_key_file: secret, reports: { agent_summary: {} } }]
  wolkvox: [{ account: b, server: '0010', token_file: secret, reports: { agent_hold_mute: {} } }]
  huawei:
    - { account: c, base_url: 'https://h', guids: { file: secret }, reports: { agent_call_statistics: {} } }
    - account: d
      base_url: https://h
      guids: { url: 'https://h', bearer_token_file: secret }
      reports: { agent_call_statistics: {} }
  voximplant: [{ account: e, credentials_file: secret, reports: { operator_status: {} } }]
";
    let file = write(folder.path(), "exporter.yml", yaml);
    let secret = write(folder.path(), "secret", "hunter2");
    for (mode, words) in [(0o604, "others can read"), (0o644, "others can read"), (0o640, ""), (0o600, "")] {
        std::fs::set_permissions(&secret, std::fs::Permissions::from_mode(mode)).unwrap();
        let (code, text) = check_config(&file, PlanFormat::Table);
        assert!(code == 0 && !text.contains("hunter2"), "{text}");
        let warnings: Vec<_> = text.lines().filter(|line| line.starts_with("warning: ")).collect();
        if words.is_empty() {
            assert_eq!(warnings, Vec::<&str>::new(), "{mode:o}");
            continue;
        }
        assert_eq!(warnings.len(), 6, "{mode:o}: {text}");
        for place in [
            "line 1: labels.pseudonym_key_file",
            "line 3: vendors.ozonetel[0].api_key_file",
            "line 4: vendors.wolkvox[0].token_file",
            "line 6: vendors.huawei[0].guids.file",
            "line 9: vendors.huawei[1].guids.bearer_token_file",
            "line 11: vendors.voximplant[0].credentials_file",
        ] {
            let expected = format!("warning: {place}: {words} {0}: chmod 600 {0}", secret.display());
            assert!(warnings.contains(&expected.as_str()), "{place}: {text}");
        }
    }
}

#[test]
fn the_example_is_accepted_without_its_secrets() {
    let (code, text) = check_config(Path::new("exporter.yml"), PlanFormat::Table);
    assert_eq!(code, 0, "{text}");
    for report in [
        "average_handling_time",
        "call_details",
        "agent_hold_mute",
        "agent_call_statistics",
        "operator_statistics",
        "operator_status",
        "queue_statistics",
        "directory",
        "agent_activity",
        "skill_service",
        "token_usage",
    ] {
        assert!(text.contains(report), "{report} is missing:\n{text}");
    }
}

#[test]
fn paths_are_relative_to_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("exporter.yml");
    let account = "vendors: {wolkvox: [{account: v, server: '0010', token: t, reports: {agent_hold_mute: {}}}]}";
    std::fs::write(&file, format!("state: {{path: here}}\n{account}")).unwrap();
    assert_eq!(load(&file).unwrap().state_path(), folder.path().join("here"));
    std::fs::write(&file, account).unwrap();
    assert_eq!(load(&file).unwrap().state_path(), Path::new("state"));
}

#[test]
fn a_missing_file_says_so() {
    let error = load(Path::new("tests/config/no-such-file.yml")).unwrap_err();
    assert_eq!(error.to_string(), "tests/config/no-such-file.yml: cannot be read: no such file");
}
