//! `process_*`, as every Prometheus client has them, from /proc.

use std::fs;
use std::sync::OnceLock;

use super::{Sample, Value};
use crate::catalogue::Family;

/// Kernel ticks per second; 100 on every Linux that Rust runs on.
const TICKS: f64 = 100.0;

/// What /proc says of this process; nothing where there is no /proc.
pub fn samples() -> Vec<Sample> {
    let mut samples = Vec::new();
    let mut add = |family, value| samples.push(Sample { family, labels: Vec::new(), value, created: None });
    let field = fields();
    if let (Some(user), Some(system)) = (field(14), field(15)) {
        add(Family::ProcessCpu, Value::Seconds((user + system) / TICKS));
    }
    if let Some(start) = start() {
        add(Family::ProcessStart, Value::Gauge(start));
    }
    if let (Some(bytes), Some(pages)) = (field(23), field(24)) {
        add(Family::ProcessVirtual, Value::Gauge(bytes));
        #[expect(clippy::cast_precision_loss, reason = "some thousand")]
        add(Family::ProcessResident, Value::Gauge(pages * rustix::param::page_size() as f64));
    }
    if let Ok(open) = fs::read_dir("/proc/self/fd") {
        #[expect(clippy::cast_precision_loss, reason = "a count of open files")]
        add(Family::ProcessOpenFds, Value::Gauge(open.count() as f64));
    }
    let limits = fs::read_to_string("/proc/self/limits").unwrap_or_default();
    let limit =
        limits.lines().find_map(|line| line.strip_prefix("Max open files")?.split_whitespace().next()?.parse().ok());
    if let Some(limit) = limit {
        add(Family::ProcessMaxFds, Value::Gauge(limit));
    }
    samples
}

/// When this process began, in seconds since the epoch. Looked up once.
pub fn start() -> Option<f64> {
    static START: OnceLock<Option<f64>> = OnceLock::new();
    *START.get_or_init(|| Some(boot_time()? + fields()(22)? / TICKS))
}

/// Numbers about this process, by their place in proc(5), which counts from 1 and has pid, comm and state before these.
fn fields() -> impl Fn(usize) -> Option<f64> {
    // They come after the command in parentheses, which may hold anything.
    let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields: Vec<f64> = stat
        .rsplit_once(')')
        .map(|(_, rest)| rest.split_whitespace().skip(1).map(|field| field.parse().unwrap_or(0.0)).collect())
        .unwrap_or_default();
    move |number| fields.get(number - 4).copied()
}

fn boot_time() -> Option<f64> {
    let stat = fs::read_to_string("/proc/stat").ok()?;
    stat.lines().find_map(|line| line.strip_prefix("btime ")?.trim().parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_how_large_this_process_is() {
        let samples = samples();
        let gauge = |family| {
            samples.iter().find_map(|sample| match sample.value {
                Value::Gauge(value) if sample.family == family => Some(value),
                _ => None,
            })
        };
        assert!(gauge(Family::ProcessResident).unwrap() > 1e5);
        assert!(gauge(Family::ProcessOpenFds).unwrap() >= 3.0);
        assert!(gauge(Family::ProcessStart).unwrap() > 1.6e9);
        assert!(gauge(Family::ProcessMaxFds).unwrap() > 3.0);
    }
}
