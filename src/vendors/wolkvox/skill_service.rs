//! `skill_1`: calls of each skill, as totals of local days, and today's service levels and averages as the vendor computes
//! them. A skill is a queue; its key is `skill_id`. What the vendor calls `abandon` is a percentage and says nothing that
//! the counts do not.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::daily::{Day, Taken};
use crate::amount::Amount;
use crate::catalogue::Family;
use crate::reading::{Bucket, Entity, Gauge, Reading};
use crate::vendors::parse::{self, Parsed, Text, is_nothing};

/// A day of all skills.
#[derive(Debug, Default)]
pub(super) struct Service(BTreeMap<Entity, Skill>);

#[derive(Deserialize, Default)]
#[serde(default)]
pub(super) struct Row {
    skill_id: Text,
    skill_name: Text,
    inbound_calls: Text,
    answer_calls: Text,
    abandon_calls: Text,
    service_level_10seg: Text,
    service_level_20seg: Text,
    service_level_30seg: Text,
    asa: Text,
    ata: Text,
}

/// All rows of one id: of more than one the counts are added, and a ratio or an average is no sample.
#[derive(Debug, Default)]
struct Skill {
    rows: u32,
    counts: [Option<Amount>; 3],
    levels: [Option<f64>; 3],
    averages: [Option<f64>; 2],
    name: Option<String>,
}

const COUNTS: [Family; 3] = [Family::QueueCalls, Family::QueueAnswered, Family::QueueUnanswered];
const THRESHOLDS: [&str; 3] = ["10", "20", "30"];
const AVERAGES: [Family; 2] = [Family::QueueAverageSpeedOfAnswer, Family::QueueAverageAbandonTime];

impl Day for Service {
    const NAME: &'static str = "skill_service";
    const API: &'static str = "skill_1";
    const PARAMETERS: &'static [(&'static str, &'static str)] = &[("skill_id", "all")];
    type Row = Row;

    fn take(&mut self, row: &Row) -> Taken {
        let Some(queue) = Entity::queue(row.skill_id.as_str()) else { return Taken::Nobodys };
        let counts =
            [&row.inbound_calls, &row.answer_calls, &row.abandon_calls].map(|text| parse::count(text.as_str()));
        let levels = [&row.service_level_10seg, &row.service_level_20seg, &row.service_level_30seg]
            .map(|text| percent(text.as_str()));
        let averages = [&row.asa, &row.ata].map(|text| seconds(text.as_str()));
        if counts.contains(&Parsed::Wrong) || levels.contains(&Parsed::Wrong) || averages.contains(&Parsed::Wrong) {
            return Taken::Rejected;
        }
        let skill = self.0.entry(queue).or_default();
        skill.rows += 1;
        for (sum, count) in skill.counts.iter_mut().zip(counts) {
            parse::add(sum, count.value());
        }
        let alone = skill.rows == 1;
        // More than all is no share, though the vendor writes such percentages.
        let ratio = |percent: f64| (percent * 1e6).round() / 1e8;
        skill.levels = levels.map(|level| level.value().map(ratio).filter(|ratio| alone && *ratio <= 1.0));
        skill.averages = averages.map(|average| average.value().filter(|seconds| alone && *seconds > 0.0));
        let name = row.skill_name.as_str().trim();
        if skill.name.is_none() && !is_nothing(name) {
            skill.name = Some(name.to_owned());
        }
        Taken::Counted
    }

    fn figures(&self, bucket: &Bucket, reading: &mut Reading) {
        for (queue, skill) in &self.0 {
            for (family, count) in COUNTS.into_iter().zip(skill.counts) {
                if let Some(amount) = count {
                    reading.figure(family, queue, bucket, amount);
                }
            }
        }
    }

    fn gauges(&self, reading: &mut Reading) {
        for (queue, skill) in &self.0 {
            let mut show = |family, labels, value| {
                reading.gauges.push(Gauge { family, entity: queue.clone(), labels, value });
            };
            let today = ("window", "today".to_owned());
            for (threshold, level) in THRESHOLDS.into_iter().zip(skill.levels) {
                if let Some(ratio) = level {
                    let labels = vec![("threshold_seconds", threshold.to_owned()), today.clone()];
                    show(Family::QueueServiceLevel, labels, ratio);
                }
            }
            for (family, average) in AVERAGES.into_iter().zip(skill.averages) {
                if let Some(seconds) = average {
                    show(family, vec![today.clone()], seconds);
                }
            }
            if let Some(name) = &skill.name {
                show(Family::QueueInfo, vec![("queue_name", name.clone())], 1.0);
            }
        }
    }
}

/// `28.81 %`, `0 %`, `15,233.33 %`: a dot before decimals, commas between thousands.
fn percent(text: &str) -> Parsed<f64> {
    let text = text.trim();
    if is_nothing(text) {
        return Parsed::Absent;
    }
    let text = text.strip_suffix('%').unwrap_or(text).trim_end();
    let whole = text.split_once('.').map_or(text, |(whole, _)| whole);
    let mut groups = whole.split(',').skip(1);
    if groups.all(|group| group.len() == 3) { decimal(&text.replace(',', "")) } else { Parsed::Wrong }
}

/// Seconds, documented as such and maybe with decimals, or `H:MM:SS`.
fn seconds(text: &str) -> Parsed<f64> {
    match parse::duration(text) {
        Parsed::Value(amount) => Parsed::Value(amount.as_f64()),
        Parsed::Absent => Parsed::Absent,
        Parsed::Wrong => decimal(text.trim()),
    }
}

/// Digits, and perhaps a dot and more of them.
fn decimal(text: &str) -> Parsed<f64> {
    let (whole, rest) = text.split_once('.').unwrap_or((text, "0"));
    let digits = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    let number = (digits(whole) && digits(rest)).then(|| text.parse().ok()).flatten();
    number.filter(|number: &f64| *number < 1e15).map_or(Parsed::Wrong, Parsed::Value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::failure::Reason;
    use crate::vendors::wolkvox::testing::polled;

    const GOOD: &str = include_str!("../../../tests/fixtures/wolkvox/skill_1.json");
    const FEWER: &str =
        r#"{"data":[{"skill_id":"54","inbound_calls":"121","answer_calls":"101","abandon_calls":"20","asa":"-"}]}"#;

    fn gauges(reading: &Reading, queue: &str) -> Vec<(Family, Vec<String>, f64)> {
        let of = reading.gauges.iter().filter(|gauge| gauge.entity == Entity::Queue(queue.into()));
        let values = |gauge: &Gauge| gauge.labels.iter().map(|(_, value)| value.clone()).collect();
        of.map(|gauge| (gauge.family, values(gauge), gauge.value)).collect()
    }

    #[tokio::test]
    async fn a_row_is_the_skill_s_day() {
        let (mut outcomes, sent) = polled("skill_service", &[&["2026-11-20"]], &[(200, GOOD)]).await;
        let url = "https://wv0010.wolkvox.com/api/v2/reports_manager.php?api=skill_1&skill_id=all";
        assert_eq!(
            sent,
            [format!("GET {url}&date_ini=20261120000000&date_end=20261120235959 [\"wolkvox-token: c0ffee\"]")]
        );
        let reading = outcomes.remove(0).unwrap();
        assert_eq!((reading.read, reading.rows, reading.rejected), (1, 4, 1));
        let figures: Vec<_> = reading.figures.iter().map(|f| (f.entity.label(), f.family, f.amount.as_f64())).collect();
        let figure = |queue, family, amount| (Some(("queue", queue)), family, amount);
        assert_eq!(
            figures,
            [
                figure("54", Family::QueueCalls, 120.0),
                figure("54", Family::QueueAnswered, 100.0),
                figure("54", Family::QueueUnanswered, 20.0),
                figure("55", Family::QueueCalls, 3.0),
                figure("55", Family::QueueAnswered, 0.0),
                figure("55", Family::QueueUnanswered, 3.0),
                // Two rows of one id.
                figure("60", Family::QueueCalls, 7.0),
                figure("60", Family::QueueAnswered, 5.0),
                figure("60", Family::QueueUnanswered, 1.0),
            ]
        );
        let today = || "today".to_owned();
        let level = |threshold: &str, ratio| (Family::QueueServiceLevel, vec![threshold.to_owned(), today()], ratio);
        assert_eq!(
            gauges(&reading, "54"),
            [
                level("10", 0.2881),
                level("20", 0.75),
                level("30", 1.0),
                (Family::QueueAverageSpeedOfAnswer, vec![today()], 14.0),
                (Family::QueueAverageAbandonTime, vec![today()], 31.0),
                (Family::QueueInfo, vec!["Pedidos".to_owned()], 1.0),
            ]
        );
        // A share above all is none, and an average of nothing is no sample.
        assert_eq!(
            gauges(&reading, "55"),
            [
                level("10", 0.0),
                level("20", 0.0),
                (Family::QueueAverageAbandonTime, vec![today()], 12.5),
                (Family::QueueInfo, vec!["Devoluciones \"24\"".to_owned()], 1.0),
            ]
        );
        assert_eq!(gauges(&reading, "60"), [(Family::QueueInfo, vec!["Cobranza".to_owned()], 1.0)]);
    }

    #[tokio::test]
    async fn a_value_that_the_vendor_gives_no_more_leaves() {
        let (outcomes, _) =
            polled("skill_service", &[&["2026-11-20"], &["2026-11-20"]], &[(200, GOOD), (200, FEWER)]).await;
        let silent = &outcomes[1].as_ref().unwrap().silent;
        assert_eq!(*silent, [Entity::Queue("54".into()), Entity::Queue("55".into())]);
    }

    #[tokio::test]
    async fn rows_that_are_none_fail_the_poll() {
        for body in [r#"{"data":[1]}"#, r#"{"data":{"skill_id":"54","service_level_10seg":"85,71 %"}}"#] {
            let (outcomes, _) = polled("skill_service", &[&["2026-11-20"]], &[(200, body)]).await;
            let verdict = outcomes[0].as_ref().unwrap().verdict();
            assert_eq!(verdict.unwrap_err().reason, Reason::Malformed, "{body}");
        }
    }

    #[test]
    fn percents_part_thousands_with_commas() {
        for (text, expected) in [
            ("28.81 %", 28.81),
            ("0 %", 0.0),
            ("15,233.33 %", 15_233.33),
            ("100%", 100.0),
            (" 7.5 % ", 7.5),
            ("42", 42.0),
        ] {
            assert_eq!(percent(text), Parsed::Value(expected), "{text}");
        }
        for text in ["", " ", "-", "None"] {
            assert_eq!(percent(text), Parsed::Absent, "{text:?}");
        }
        for text in ["85,71 %", "-3 %", "%", "1.2.3 %", "many", "1e3 %", ".5 %", "5. %", "12:00 %", "NaN %", "inf"] {
            assert_eq!(percent(text), Parsed::Wrong, "{text:?}");
        }
    }

    #[test]
    fn averages_are_seconds_or_hours_minutes_and_seconds() {
        for (text, expected) in [("12", 12.0), ("12.5", 12.5), ("00:01:05", 65.0), ("0", 0.0)] {
            assert_eq!(seconds(text), Parsed::Value(expected), "{text}");
        }
        assert_eq!(seconds("-"), Parsed::Absent);
        for text in ["-1", "1:2", "soon", "00:00:61"] {
            assert_eq!(seconds(text), Parsed::Wrong, "{text}");
        }
    }
}
