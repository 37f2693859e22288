//! From the last byte of a vendor's answer to the new page: ten thousand operators with ten figures each are decoded, counted,
//! encoded and compressed, beside what `serde_json` alone takes to make a `Value` of the same answer. And what a change of one
//! account in ten costs, beside a change of all.

use std::hint::black_box;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use contact_center_exporter::page::{Format, Page, Representation};
use jiff::Timestamp;

use crate::operators::{Account, SERIES, answer};
use crate::{Row, median};

const OPERATORS: usize = 10_000;
/// As many accounts of as many operators are a page of a million series.
const ACCOUNTS: usize = 10;
const LARGE: usize = 1_000_000 / ACCOUNTS / SERIES;
const ROUNDS: usize = 25;
const WANTED: Representation = Representation { format: Format::OpenMetrics, gzip: true };

pub(crate) fn measure() -> anyhow::Result<Vec<Row>> {
    let now: Timestamp = "2026-03-02T08:00:00Z".parse()?;
    let mut account = Account::new("shop-eu", now)?;
    let page = Page::new(1);
    page.make(WANTED);
    let (mut whole, mut theirs) = (Vec::new(), Vec::new());
    let mut parts = [const { Vec::new() }; 4];
    for turn in 0..=ROUNDS {
        let body = Bytes::from(answer(account.day(), OPERATORS, turn + 1));
        let (beside, value) = timed(|| serde_json::from_slice::<serde_json::Value>(&body));
        drop(black_box(value?));
        let (decoded, reading) = timed(|| account.decode(&body));
        let reading = reading?;
        let (counted, stored) = timed(|| account.apply(&reading));
        stored?;
        // Encoding alone: a page that nobody reads compressed.
        let plain = Page::new(1);
        plain.make(Representation { gzip: false, ..WANTED });
        let (encoded, ()) = timed(|| account.publish(&plain, 0));
        let (shown, ()) = timed(|| account.publish(&page, 0));
        let (freed, ()) = timed(|| drop(reading));
        if turn > 0 {
            theirs.push(beside);
            whole.push(decoded + counted + shown + freed);
            for (part, took) in parts.iter_mut().zip([decoded, counted + freed, encoded, shown - encoded]) {
                part.push(took);
            }
        }
        assert_eq!(page.series(), OPERATORS * SERIES);
    }
    let [decoded, counted, encoded, packed] = parts.map(|mut part| median(&mut part));
    println!(
        "pipeline: decode {decoded:.1} ms, ledger {counted:.1} ms, encode {encoded:.1} ms, compress {packed:.1} ms"
    );
    let (ours, theirs) = (median(&mut whole), median(&mut theirs));
    let mut rows = vec![Row {
        what: "answer of 10000 operators to new page",
        ours: format!("{ours:.1} ms"),
        theirs: format!("Value {theirs:.1} ms"),
        verdict: format!("ratio {:.2}, at most 3", ours / theirs),
        met: ours <= 3.0 * theirs,
    }];
    rows.push(tenth(now)?);
    Ok(rows)
}

/// One account of ten changes, or all of them do.
fn tenth(now: Timestamp) -> anyhow::Result<Row> {
    let page = Arc::new(Page::new(ACCOUNTS));
    page.make(WANTED);
    let mut accounts = Vec::new();
    for number in 0..ACCOUNTS {
        let mut account = Account::new(&format!("shop-{number}"), now)?;
        let body = Bytes::from(answer(account.day(), LARGE, number + 1));
        let reading = account.decode(&body)?;
        account.apply(&reading)?;
        account.publish(&page, number);
        accounts.push(account);
    }
    let (mut one, mut all) = (Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        one.push(timed(|| accounts[round % ACCOUNTS].publish(&page, round % ACCOUNTS)).0);
        if round % 5 == 0 {
            // From nothing: nobody has seen a page of these.
            let fresh = Page::new(ACCOUNTS);
            for (number, account) in accounts.iter().enumerate() {
                account.publish(&fresh, number);
            }
            all.push(timed(|| black_box(fresh.make(WANTED))).0);
        }
    }
    let (one, all) = (median(&mut one), median(&mut all));
    Ok(Row {
        what: "one of ten accounts, page of 1000000 series",
        ours: format!("{one:.1} ms"),
        theirs: format!("all of them {all:.1} ms"),
        verdict: format!("share {:.3}, at most 0.13", one / all),
        met: one <= 0.13 * all,
    })
}

fn timed<T>(action: impl FnOnce() -> T) -> (f64, T) {
    #[expect(clippy::disallowed_methods, reason = "it is the machine's time that is measured")]
    let start = Instant::now();
    let done = action();
    (start.elapsed().as_secs_f64() * 1e3, done)
}
