//! Whatever vendors call their agents and whatever they count, every representation is well-formed and says the same.

#![no_main]

#[path = "../../tests/integration/exposition.rs"]
#[allow(dead_code)]
mod exposition;
#[path = "../../tests/integration/representations.rs"]
#[allow(dead_code)]
mod representations;

use std::sync::Arc;

use arbitrary::Arbitrary;
use contact_center_exporter::amount::Amount;
use contact_center_exporter::catalogue::Family;
use contact_center_exporter::page::histogram::Histogram;
use contact_center_exporter::page::{Sample, Value};
use libfuzzer_sys::fuzz_target;

#[derive(Arbitrary, Debug)]
enum Number {
    Counter(u32, u16),
    Gauge(f64),
    Info,
    Histogram(Vec<u32>),
}

#[derive(Arbitrary, Debug)]
struct Series<'a> {
    names: [&'a str; 5],
    number: Number,
    created: Option<u32>,
}

fuzz_target!(|reports: Vec<Vec<Series<'_>>>| {
    let sample = |Series { names, number, created }: Series<'_>| {
        let (family, value) = match number {
            Number::Counter(whole, part) => {
                let amount = Amount::from_f64(f64::from(whole) + f64::from(part) / 1000.0).unwrap_or_default();
                (Family::AgentTalk, Value::Counter(amount))
            }
            // The strict reader knows no NaN: nothing of ours makes one.
            Number::Gauge(value) => {
                (Family::AgentAverageHandleTime, Value::Gauge(if value.is_finite() { value } else { 1.0 }))
            }
            Number::Info => (Family::AgentInfo, Value::Gauge(1.0)),
            Number::Histogram(observed) => {
                let histogram = Histogram::new(&[1.0, 60.0]);
                observed.into_iter().for_each(|value| histogram.observe(f64::from(value) / 1000.0));
                (Family::CampaignTalkTime, Value::Histogram(histogram.value()))
            }
        };
        let labels = family.spec().labels.iter().copied().zip(names.map(Arc::from)).collect();
        Sample { family, labels, value, created: created.map(f64::from) }
    };
    let mut number = 0;
    let reports = reports.into_iter().take(4).map(|report| {
        number += 1;
        // Each report has an account of its own.
        let own = |mut sample: Sample| {
            sample.labels[1].1 = format!("{number}{}", sample.labels[1].1).into();
            sample
        };
        report.into_iter().map(sample).map(own).collect()
    });
    representations::check(reports.collect());
});
