//! An error of the YAML reader in our words. Its own would print the value that stood in the wrong place, which may be a
//! secret; the line and column, the key path and what is accepted are enough to find it.

/// Line, column and message.
pub(super) fn explain(error: &serde_yaml::Error, text: &str) -> (usize, usize, String) {
    let (line, column) = error.location().map_or((1, 1), |location| (location.line(), location.column()));
    let message = rephrase(&error.to_string());
    if message.contains("duplicate entry")
        && let Some((line, column)) = second_of_two(text)
    {
        return (line, column, message);
    }
    // The reader's own words speak of tokens.
    let indented_with = text.lines().nth(line.saturating_sub(1)).unwrap_or_default();
    let indented_with = &indented_with[..indented_with.len() - indented_with.trim_start().len()];
    if message.contains("cannot start any token") && indented_with.contains('\t') {
        return (line, column, "a tab cannot indent: use spaces".to_owned());
    }
    (line, column, message)
}

fn rephrase(message: &str) -> String {
    for words in ["invalid type: ", "invalid value: "] {
        // The value may hold anything, so what is expected is what follows the last such word.
        if let Some((path, rest)) = message.split_once(words)
            && let Some((found, expected)) = rest.rsplit_once(", expected ")
        {
            let kind = found.split(['`', '"']).next().unwrap_or_default().trim();
            return format!("{path}expected {}, found {}", plain(without_place(expected)), plain(kind));
        }
    }
    if let Some((path, rest)) = message.split_once("unknown variant `")
        && let Some((given, expected)) = rest.rsplit_once("`, expected ")
    {
        let expected = without_place(expected);
        return format!("{path}unknown value, expected {expected}{}", suggestion(given, expected));
    }
    let message = without_place(message);
    if let Some((_, rest)) = message.split_once("unknown field `")
        && let Some((given, expected)) = rest.split_once("`, expected ")
    {
        return format!("{message}{}", suggestion(given, expected));
    }
    message.to_owned()
}

/// The message without the place at its end.
fn without_place(message: &str) -> &str {
    message.find(" at line ").map_or(message, |end| &message[..end])
}

/// A type in words for someone who writes YAML.
fn plain(kind: &str) -> &str {
    match kind {
        "unit value" => "nothing",
        "map" | "a map" => "a mapping",
        "sequence" | "a sequence" => "a list",
        "path string" => "a path",
        "string" => "text",
        "integer" | "floating point" => "a number",
        "boolean" | "a boolean" => "true or false",
        "u16" | "u32" | "u64" | "usize" => "a whole number from 0",
        "a YAML tag starting with '!'" => "one of its words",
        kind if kind.starts_with("struct ") => "a mapping",
        kind => kind,
    }
}

/// `; did you mean …?` if one of the accepted names, which stand in backticks, is close.
fn suggestion(given: &str, accepted: &str) -> String {
    let names = accepted.split('`').skip(1).step_by(2);
    names
        .map(|name| (distance(given, name), name))
        .min()
        .filter(|(steps, name)| *steps <= 1 + name.len() / 4)
        .map_or_else(String::new, |(_, name)| format!("; did you mean `{name}`?"))
}

/// How many letters have to be put in, left out or changed (Levenshtein).
fn distance(from: &str, to: &str) -> usize {
    let to: Vec<char> = to.chars().collect();
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (i, a) in from.chars().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, b) in to.iter().enumerate() {
            let changed = diagonal + usize::from(a != *b);
            diagonal = row[j + 1];
            row[j + 1] = changed.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[to.len()]
}

/// Where a key stands for the second time; the YAML reader only knows where its mapping begins.
fn second_of_two(text: &str) -> Option<(usize, usize)> {
    use marked_yaml::{LoadError, LoaderOptions};
    let options = LoaderOptions::default().error_on_duplicate_keys(true);
    match marked_yaml::parse_yaml_with_options(0, text, options) {
        Err(LoadError::DuplicateKey(keys)) => keys.key.span().start().map(|place| (place.line(), place.column())),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    fn explained(text: &str) -> String {
        let error = serde_yaml::from_str::<serde_yaml::Value>(text)
            .and_then(|_| serde_yaml::from_str::<Config>(text).map(|_| ()))
            .unwrap_err();
        let (line, column, message) = explain(&error, text);
        format!("{line}:{column} {message}")
    }

    #[test]
    fn no_value_is_repeated() {
        for text in [
            "hunter2",
            "vendors: hunter2",
            "vendors: {wolkvox: [hunter2]}",
            "vendors: {wolkvox: [{account: a, reports: {agent_hold_mute: {interval: hunter2}}}]}",
            "vendors: {wolkvox: [{account: a, licences: 'hunter2, expected much', reports: {}}]}",
            "vendors: {wolkvox: [{account: a, licences: hunter2 at line 3, reports: {}}]}",
            "vendors: {wolkvox: [{account: a, tls: {insecure_skip_verify: hunter2}, reports: {}}]}",
            "vendors: {wolkvox: [{account: a, token: [hunter2], reports: {}}]}",
            "vendors: {}\nlabels: {agent: 'hunter2`, expected `x'}",
            "vendors: {}\nlabels: {pseudonym_key: hunter2, pseudonym_key: hunter2}",
            "vendors: {}\nlabels: {pseudonym_key: hunter2\nstate: {}",
        ] {
            let message = explained(text);
            assert!(!message.contains("hunter2"), "{text}: {message}");
        }
    }

    #[test]
    fn says_where_and_what_is_accepted() {
        for (text, expected) in [
            ("vendors: {wolkvox: 5}", "1:20 vendors.wolkvox: expected a list, found a number"),
            (
                "vendors:\n  huawey: []",
                "2:3 vendors: unknown field `huawey`, expected one of `huawei`, `ozonetel`, \
              `voximplant`, `wolkvox`; did you mean `huawei`?",
            ),
            (
                "labels:\n  agent: pseudonim",
                "2:10 labels.agent: unknown value, expected one of `plain`, `pseudonym`, \
              `none`; did you mean `pseudonym`?",
            ),
            ("state: {}\nvendors: {}\nstate: {}", "3:1 duplicate entry with key \"state\""),
            ("vendors:\n\twolkvox: []", "2:1 a tab cannot indent: use spaces"),
            ("state: {path: x", "2:1 did not find expected ',' or '}'"),
            ("vendors: {}\nstate: {path: [a]}", "2:15 state.path: expected a path, found a list"),
        ] {
            assert_eq!(explained(text), expected);
        }
    }
}
