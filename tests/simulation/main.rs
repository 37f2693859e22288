//! The whole program on a virtual clock, against simulated vendors that fail, with a disk that forgets what was not
//! synced, killed and started again for simulated weeks. After every scrape no counter may have fallen; at the end every
//! counter must equal what really happened. Everything is drawn from a seed.
//!
//! `SEEDS=100000` runs so many, `SEED=17` one alone, `FROM=1000` begins there, `FAILURES=1` stops after so many (20).
//! `RECORDS=100` is the share of stories that read Ozonetel's lists of calls, in percent (5).
//! `DISK_THAT_LIES=1` plants one mistake in the disk; `scripts/mutants` plants others in the program.

#![expect(clippy::print_stdout, reason = "the test says what it simulated")]
#![expect(clippy::cast_possible_truncation, reason = "offsets in a file of some megabytes, places in a short list")]

mod chaos;
mod disk;
mod expected;
mod story;
mod wire;

use std::io::Write as _;
use std::ops::Range;
use std::panic::AssertUnwindSafe;
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};

use story::Tally;

fn main() -> ExitCode {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    // What a wrong program panics with is told with its seed.
    std::panic::set_hook(Box::new(|_| {}));
    if let Some(seed) = number("SEED") {
        return match run(seed) {
            Ok(tally) => {
                println!("seed {seed}: {tally:?}");
                ExitCode::SUCCESS
            }
            Err(error) => {
                println!("seed {seed} failed: {error}");
                ExitCode::FAILURE
            }
        };
    }
    let from = number("FROM").unwrap_or(1);
    let seeds = number("SEEDS").unwrap_or(2000);
    let failures = number("FAILURES").unwrap_or(20);
    let (next, failed) = (AtomicU64::new(from), AtomicU64::new(0));
    let threads = std::thread::available_parallelism().map_or(2, usize::from);
    let tallies = std::thread::scope(|scope| {
        let workers: Vec<_> =
            (0..threads).map(|_| scope.spawn(|| work(&next, from..from + seeds, &failed, failures))).collect();
        workers.into_iter().filter_map(|worker| worker.join().ok()).fold(Tally::default(), |sum, one| sum + one)
    });
    let failed = failed.load(Ordering::SeqCst);
    println!("simulated {tallies:?}");
    // The form that test runners' readers know.
    println!("{} passed, {failed} failed", seeds - failed);
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn work(next: &AtomicU64, seeds: Range<u64>, failed: &AtomicU64, failures: u64) -> Tally {
    let mut sum = Tally::default();
    loop {
        let seed = next.fetch_add(1, Ordering::SeqCst);
        if seed >= seeds.end || failed.load(Ordering::SeqCst) >= failures {
            return sum;
        }
        match run(seed) {
            Ok(tally) => sum = sum + tally,
            Err(error) => {
                failed.fetch_add(1, Ordering::SeqCst);
                println!("seed {seed} failed: {error}\n    alone: make simulate SEED={seed}");
            }
        }
        let told = seed + 1 - seeds.start;
        if told.is_multiple_of(250) {
            println!("{told} of {} seeds", seeds.end - seeds.start);
            let _ = std::io::stdout().flush();
        }
    }
}

fn run(seed: u64) -> Result<Tally, String> {
    let story = AssertUnwindSafe(|| story::tell(seed));
    std::panic::catch_unwind(story).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        Err(text.or_else(|| panic.downcast_ref::<&str>().map(ToString::to_string)).unwrap_or_default())
    })
}
