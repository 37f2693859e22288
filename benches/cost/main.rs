//! What the program costs, beside programs that people know: `cargo bench --bench cost`, or `make bench`, which also sees
//! to it that those are installed. Rounds of the two sides are interleaved, so that both meet the same machine, and the
//! medians are compared. `docs/performance.md` explains the method and keeps figures.
//!
//! The simulated vendors run in a process of their own: this same binary with the argument `simulators`.

#![expect(clippy::print_stdout, reason = "the figures")]

mod huawei;
mod ledger;
mod memory;
#[path = "../support/operators.rs"]
mod operators;
mod ozonetel;
mod page;
mod pipeline;
mod processes;
mod requests;
mod simulators;
mod startup;
mod voximplant;
mod wolkvox;
mod year;

use std::process::ExitCode;

/// A figure, and whether it is good enough.
struct Row {
    what: &'static str,
    ours: String,
    theirs: String,
    verdict: String,
    met: bool,
}

fn main() -> anyhow::Result<ExitCode> {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    if arguments.first().is_some_and(|first| first == "simulators") {
        simulators::serve(arguments.get(1..).unwrap_or_default())?;
        return Ok(ExitCode::SUCCESS);
    }
    if let [first, folder, ..] = arguments.as_slice()
        && first == "ledger-memory"
    {
        ledger::memory(folder.as_ref())?;
        return Ok(ExitCode::SUCCESS);
    }
    // `cargo bench --bench cost -- startup` runs one of them; cargo adds an option of its own.
    let wanted = |name: &str| {
        let mut names = arguments.iter().filter(|argument| !argument.starts_with('-')).peekable();
        names.peek().is_none() || names.any(|argument| argument == name)
    };
    let mut rows = Vec::new();
    if wanted("startup") {
        rows.extend(startup::measure()?);
    }
    if wanted("requests") {
        rows.extend(requests::measure()?);
    }
    if wanted("memory") {
        rows.push(memory::measure()?);
    }
    if wanted("ledger") {
        rows.extend(ledger::measure()?);
    }
    if wanted("pipeline") {
        rows.extend(pipeline::measure()?);
    }
    if wanted("page") {
        rows.extend(page::measure()?);
    }
    if wanted("year") {
        rows.push(year::measure()?);
    }
    if wanted("huawei") {
        rows.extend(huawei::measure()?);
    }
    if wanted("voximplant") {
        rows.extend(voximplant::measure()?);
    }
    if wanted("wolkvox") {
        rows.extend(wolkvox::measure()?);
    }
    if wanted("ozonetel") {
        rows.extend(ozonetel::measure()?);
    }
    println!("\n{:<44} {:>16} {:>22}  requirement", "median", "exporter", "beside it");
    for Row { what, ours, theirs, verdict, met } in &rows {
        println!("{what:<44} {ours:>16} {theirs:>22}  {verdict}{}", if *met { "" } else { ": MISSED" });
    }
    Ok(if rows.iter().all(|row| row.met) { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The middle of the figures, and their range.
fn median(figures: &mut [f64]) -> f64 {
    figures.sort_by(f64::total_cmp);
    let middle = figures.len() / 2;
    let at = |index: usize| figures.get(index).copied().unwrap_or(f64::NAN);
    if figures.len().is_multiple_of(2) { f64::midpoint(at(middle.wrapping_sub(1)), at(middle)) } else { at(middle) }
}
