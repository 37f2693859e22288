//! Whether an account is the same after a reload: a digest of all that decides how it is polled. That is its part of the
//! file, how agents are labelled, and what the files and variables hold that are read once (secrets, certificates). Sources
//! that every poll reads again are not part of it.

use std::path::Path;

use serde_yaml::Value;
use sha2::{Digest as _, Sha256};

/// Equal for accounts that are polled in the same way.
pub type Digest = [u8; 32];

/// Read at every poll.
const LIVE: [&str; 1] = ["ucid_file"];

pub(super) fn digest(tree: &Value, folder: &Path, vendor: &str, account: &str) -> Digest {
    let mut hash = Sha256::new();
    let accounts = tree.get("vendors").and_then(|vendors| vendors.get(vendor)).and_then(Value::as_sequence);
    let found = accounts.into_iter().flatten().find(|one| one.get("account").and_then(Value::as_str) == Some(account));
    for part in [found, tree.get("labels")].into_iter().flatten() {
        hash.update(serde_yaml::to_string(part).unwrap_or_default());
        add_sources(&mut hash, part, folder);
    }
    hash.finalize().into()
}

fn add_sources(hash: &mut Sha256, part: &Value, folder: &Path) {
    match part {
        Value::Mapping(mapping) => {
            for (key, value) in mapping {
                match (key.as_str(), value.as_str()) {
                    (Some(key), _) if LIVE.contains(&key) => {}
                    (Some(key), Some(path)) if key.ends_with("_file") => {
                        hash.update(std::fs::read(folder.join(path)).unwrap_or_default());
                    }
                    (Some(key), Some(name)) if key.ends_with("_env") => {
                        hash.update(std::env::var(name).unwrap_or_default());
                    }
                    _ => add_sources(hash, value, folder),
                }
            }
        }
        Value::Sequence(sequence) => sequence.iter().for_each(|value| add_sources(hash, value, folder)),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_decides_how_an_account_is_polled_changes_its_digest() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
        let of = |text: &str| digest(&serde_yaml::from_str(text).unwrap(), folder.path(), "v", "a");
        let file = "{labels: {agent: plain}, vendors: {v: [{account: a, token_file: t, reports: {r: {interval: 1m, ucid_file: u}}}, {account: b}]}}";
        write("t", "one");
        write("u", "1");
        let before = of(file);
        write("u", "2");
        assert_eq!(of(&file.replace("account: b", "account: c").replace(", ", ",  ")), before);
        write("t", "two");
        assert_ne!(of(file), before, "another secret");
        write("t", "one");
        assert_ne!(of(&file.replace("1m", "2m")), before);
        assert_ne!(of(&file.replace("plain", "none")), before);
        assert_eq!(of(file), before);
    }
}
