//! The operator's file of calls: one `UCID` or `UCID,YYYY-MM-DD` per line, `#` comments. A line that is neither is a
//! failure with its number, never with its text; the others go on. What becomes of a call is the queue's business.

use std::collections::BTreeMap;

use jiff::civil::Date;

use crate::failure::{Failure, Reason};
use crate::reading::CallId;

/// What the file says.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Listed {
    /// The calls. Of a call that is listed twice the first line holds.
    pub(super) calls: BTreeMap<CallId, Entry>,
    /// Lines that could not be read.
    pub(super) failures: Vec<Failure>,
}

/// One call of the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) line: usize,
    /// The local day of the call, if it is given.
    pub(super) day: Option<Date>,
}

// === impl Listed ===

impl Listed {
    /// Reads the file's text as it stands on `today`.
    pub(super) fn parse(text: &str, today: Date) -> Self {
        let mut listed = Self::default();
        for (index, line) in text.trim_start_matches('\u{feff}').lines().enumerate() {
            let line = line.split('#').next().unwrap_or_default().trim();
            if line.is_empty() {
                continue;
            }
            let number = index + 1;
            match parse_line(line, today) {
                Ok((id, day)) => {
                    listed.calls.entry(id).or_insert(Entry { line: number, day });
                }
                Err(detail) => {
                    listed.failures.push(Failure::new(Reason::Config, detail).at(format!("line {number}")));
                }
            }
        }
        listed
    }
}

fn parse_line(line: &str, today: Date) -> Result<(CallId, Option<Date>), &'static str> {
    let (id, day) = line.split_once(',').map_or((line, None), |(id, day)| (id.trim(), Some(day.trim())));
    let id = parse_id(id).ok_or("the UCID is not numeric")?;
    let day = match day {
        None => None,
        Some(text) => Some(parse_day(text).ok_or("the day of the UCID is not YYYY-MM-DD")?),
    };
    if day.is_some_and(|day| day > today) {
        return Err("the day of the UCID lies in the future");
    }
    Ok((id, day))
}

/// A UCID, which is digits and nothing else.
pub(super) fn parse_id(text: &str) -> Option<CallId> {
    (!text.is_empty() && text.bytes().all(|b| b.is_ascii_digit())).then(|| CallId::new(text))
}

fn parse_day(text: &str) -> Option<Date> {
    let plain = text.len() == 10 && text.bytes().all(|b| b.is_ascii_digit() || b == b'-');
    plain.then(|| Date::strptime("%Y-%m-%d", text).ok()).flatten()
}

#[cfg(test)]
mod tests {
    use jiff::civil::date;

    use super::*;

    #[test]
    fn comments_and_blank_lines_are_skipped_and_the_first_mention_holds() {
        let text = "\u{feff}# calls of the day\r\n\r\n 100200300 \r\n100200301,2026-11-19 # again\n100200301\n31571870688636584, 2026-11-20\n";
        let listed = Listed::parse(text, date(2026, 11, 20));
        let calls: Vec<_> = listed.calls.iter().map(|(id, entry)| (id.expose(), entry.line, entry.day)).collect();
        assert_eq!(
            calls,
            [
                ("100200300", 3, None),
                ("100200301", 4, Some(date(2026, 11, 19))),
                ("31571870688636584", 6, Some(date(2026, 11, 20))),
            ]
        );
        assert!(listed.failures.is_empty());
    }

    #[test]
    fn a_wrong_line_is_named_by_its_number_alone() {
        for wrong in [
            "98765x",
            "-98765",
            "98765 43210",
            ",2026-11-19",
            "98765,",
            "98765,19-11-2026",
            "98765,2026-02-30",
            "98765,2026-11-21",
            "98765,2026-11-19,x",
        ] {
            let listed = Listed::parse(&format!("1\n{wrong}\n2"), date(2026, 11, 20));
            assert_eq!(listed.calls.len(), 2, "{wrong}");
            let failures: Vec<_> = listed.failures.iter().map(|f| (f.reason, f.place.as_deref())).collect();
            assert_eq!(failures, [(Reason::Config, Some("line 2"))], "{wrong}");
            assert!(!format!("{listed:?}").contains("9876"), "{wrong}");
        }
    }
}
