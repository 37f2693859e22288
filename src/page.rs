//! The page: what every scrape reads. A poll encodes its own report's samples once, into a block; publishing is a pointer
//! swap, so that a scrape sees whole blocks only and waits for nobody. A scrape joins blocks, family by family, in the
//! order of the catalogue.

mod encode;
pub mod negotiate;
pub mod process;

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;

use crate::catalogue::{ALL, Family, Kind};
pub use encode::{Block, Sample, Value};
pub use negotiate::Format;

/// All blocks that are shown now.
#[derive(Debug, Default)]
pub struct Page {
    /// One writer at a time: publishing replaces one block of the list.
    writer: Mutex<Names>,
    blocks: ArcSwap<Vec<Arc<Block>>>,
    /// Places of reports that have left.
    free: Mutex<Vec<usize>>,
}

/// Which report names an entity: of two that know it only one may, as `*_info` stands once per entity. The other one
/// takes over when the first has stopped.
#[derive(Debug, Default)]
struct Names(HashMap<(Family, Vec<Arc<str>>), usize>);

impl Page {
    /// A page with room for so many reports.
    pub fn new(reports: usize) -> Self {
        let empty = Arc::new(Block::default());
        let blocks = (0..reports).map(|_| Arc::clone(&empty)).collect::<Vec<_>>();
        Self { blocks: ArcSwap::from_pointee(blocks), ..Self::default() }
    }

    /// A place for one more report: a free one, or a new one.
    pub fn join(&self) -> usize {
        let free = self.free.lock().unwrap_or_else(PoisonError::into_inner).pop();
        if let Some(free) = free {
            return free;
        }
        let _one = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        let mut blocks = Vec::clone(&self.blocks.load());
        blocks.push(Arc::default());
        let place = blocks.len() - 1;
        self.blocks.store(Arc::new(blocks));
        place
    }

    /// The report has gone: what it had shown leaves, and its place is free.
    pub fn leave(&self, report: usize) {
        self.publish(report, Vec::new());
        self.free.lock().unwrap_or_else(PoisonError::into_inner).push(report);
    }

    /// Shows `samples` in place of what the report of that number had shown.
    pub fn publish(&self, report: usize, mut samples: Vec<Sample>) {
        let mut names = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        samples.retain(|sample| names.may_show(report, sample));
        drop(names);
        let shown: HashSet<_> = samples.iter().filter_map(Names::key).collect();
        let block = Block::encode(samples);
        names = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        let mut blocks = Vec::clone(&self.blocks.load());
        if let Some(slot) = blocks.get_mut(report) {
            *slot = Arc::new(block);
        }
        self.blocks.store(Arc::new(blocks));
        // Not before: until now they stood on the page.
        names.0.retain(|name, owner| *owner != report || shown.contains(name));
    }

    /// Vendor series that are shown now.
    pub fn series(&self) -> usize {
        self.blocks.load().iter().map(|block| block.series()).sum()
    }

    /// The whole page; `health` is the exporter's own block.
    pub fn render(&self, format: Format, health: &Block) -> String {
        let blocks = self.blocks.load();
        let size: usize = blocks.iter().map(|block| block.size()).sum();
        let mut page = String::with_capacity(size + health.size() + 16 * 1024);
        for family in ALL.iter().copied() {
            let mut parts =
                blocks.iter().map(|block| &**block).chain([health]).filter_map(|block| block.part(family)).peekable();
            if parts.peek().is_some() {
                write_header(&mut page, family, format);
                parts.for_each(|part| page.push_str(part));
            }
        }
        if format == Format::OpenMetrics {
            page.push_str("# EOF\n");
        }
        page
    }
}

impl Names {
    /// The first three labels are vendor, account and entity; the others are what is said of it.
    fn key(sample: &Sample) -> Option<(Family, Vec<Arc<str>>)> {
        let info = sample.family.spec().is_info();
        info.then(|| (sample.family, sample.labels.iter().take(3).map(|(_, value)| Arc::clone(value)).collect()))
    }

    fn may_show(&mut self, report: usize, sample: &Sample) -> bool {
        Self::key(sample).is_none_or(|key| *self.0.entry(key).or_insert(report) == report)
    }
}

/// HELP, TYPE and, in OpenMetrics, UNIT. The help texts of the catalogue need no escaping, which its tests hold.
fn write_header(page: &mut String, family: Family, format: Format) {
    let spec = family.spec();
    let full = spec.full_name();
    let open = format == Format::OpenMetrics;
    let (name, kind) = match spec.kind {
        Kind::Counter if open => (full.trim_end_matches("_total"), "counter"),
        Kind::Counter => (full.as_str(), "counter"),
        Kind::Gauge => (full.as_str(), "gauge"),
        Kind::Histogram(_) => (full.as_str(), "histogram"),
    };
    for part in ["# HELP ", name, " ", spec.help, "\n# TYPE ", name, " ", kind, "\n"] {
        page.push_str(part);
    }
    if open && let Some(unit) = spec.unit() {
        for part in ["# UNIT ", name, " ", unit, "\n"] {
            page.push_str(part);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::amount::Amount;

    fn sample(family: Family, agent: &str, value: Value) -> Sample {
        Sample { family, labels: vec![("vendor", "v".into()), ("account", "a".into()), ("agent", agent.into())], value }
    }

    #[test]
    fn one_family_of_two_reports_stands_together_under_one_header() {
        let page = Page::new(2);
        let talk = |agent: &str, n| sample(Family::AgentTalk, agent, Value::Counter(Amount::whole(n)));
        page.publish(0, vec![talk("z", 1), talk("b \"q\" \\ \n", 2)]);
        page.publish(1, vec![talk("y", 3), sample(Family::AgentSignedIn, "y", Value::Gauge(1.0))]);
        let text = page.render(Format::Text004, &Block::default());
        assert_eq!(text.matches("# TYPE contact_center_agent_talk_seconds_total counter").count(), 1);
        assert!(text.contains(r#"agent_talk_seconds_total{vendor="v",account="a",agent="b \"q\" \\ \n"} 2"#), "{text}");
        assert!(!text.contains("# EOF") && !text.contains("# UNIT"));
        let open = page.render(Format::OpenMetrics, &Block::default());
        assert!(open.contains(
            "# TYPE contact_center_agent_talk_seconds counter\n# UNIT contact_center_agent_talk_seconds seconds\n"
        ));
        assert!(open.ends_with("# EOF\n"));
        assert_eq!(page.series(), 4);
        page.publish(1, Vec::new());
        assert_eq!(page.series(), 2);
    }

    #[test]
    fn an_entity_is_named_by_one_report_at_a_time() {
        let page = Page::new(2);
        let info = |name: &str| {
            let mut sample = sample(Family::AgentInfo, "7", Value::Gauge(1.0));
            sample.labels.extend([("agent_name", name.into()), ("agent_id", "7".into())]);
            vec![sample]
        };
        let shown = || page.render(Format::Text004, &Block::default());
        page.publish(0, info("Asha"));
        page.publish(1, info("Asha P."));
        assert!(shown().contains("agent_name=\"Asha\"") && page.series() == 1, "{}", shown());
        page.publish(0, info("Asha Q."));
        assert!(shown().contains("agent_name=\"Asha Q.\"") && page.series() == 1, "{}", shown());
        page.publish(0, Vec::new());
        page.publish(1, info("Asha P."));
        assert!(shown().contains("agent_name=\"Asha P.\"") && page.series() == 1, "{}", shown());
    }

    /// Scrapes while reports publish: every block on a page is one that was published, whole.
    #[test]
    fn a_scrape_never_sees_half_a_block() {
        use std::sync::atomic::{AtomicBool, Ordering};
        const ROUNDS: u64 = 400;
        let (page, done) = (Page::new(2), AtomicBool::new(false));
        let block = |report: &str, n| {
            let of = |family| sample(family, report, Value::Counter(Amount::whole(n)));
            vec![of(Family::AgentTalk), of(Family::AgentHold), of(Family::AgentRing)]
        };
        page.publish(0, block("r0", 0));
        page.publish(1, block("r1", 0));
        std::thread::scope(|scope| {
            let readers: Vec<_> = (0..2)
                .map(|_| {
                    scope.spawn(|| {
                        let (mut last, mut pages) = ([0, 0], 0);
                        while !done.load(Ordering::SeqCst) {
                            let text = page.render(Format::Text004, &Block::default());
                            for (report, last) in ["r0", "r1"].iter().zip(&mut last) {
                                let agent = format!("agent=\"{report}\"");
                                let lines = text.lines().filter(|line| line.contains(&agent));
                                let values: Vec<u64> =
                                    lines.map(|line| line.rsplit(' ').next().unwrap().parse().unwrap()).collect();
                                assert!(matches!(values[..], [a, b, c] if a == b && b == c), "{values:?}");
                                assert!(values[0] >= *last, "{} after {last}", values[0]);
                                *last = values[0];
                            }
                            pages += 1;
                        }
                        pages
                    })
                })
                .collect();
            for report in 0..2 {
                let page = &page;
                scope.spawn(move || (1..=ROUNDS).for_each(|n| page.publish(report, block(&format!("r{report}"), n))));
            }
            std::thread::sleep(std::time::Duration::from_millis(300));
            done.store(true, Ordering::SeqCst);
            assert!(readers.into_iter().map(|reader| reader.join().unwrap()).sum::<u64>() > 10);
        });
    }

    #[test]
    fn a_name_that_looks_like_a_header_is_a_name() {
        let page = Page::new(1);
        let name = "# HELP x\n# HELP contact_center_up y\n# TYPE z";
        page.publish(
            0,
            vec![
                sample(Family::AgentMute, name, Value::Counter(Amount::ONE)),
                sample(Family::AgentSignedIn, name, Value::Gauge(1.0)),
            ],
        );
        let text = page.render(Format::Text004, &Block::default());
        let samples: Vec<_> = text.lines().filter(|line| !line.starts_with('#')).collect();
        let labels = r##"{vendor="v",account="a",agent="# HELP x\n# HELP contact_center_up y\n# TYPE z"}"##;
        assert_eq!(
            samples,
            [
                format!("contact_center_agent_mute_seconds_total{labels} 1"),
                format!("contact_center_agent_signed_in{labels} 1.0"),
            ]
        );
        assert_eq!(page.series(), 2);
    }

    #[test]
    fn histograms_are_cumulative_and_end_with_infinity() {
        let page = Page::new(1);
        let value = Value::Histogram { sum: 61.0, buckets: vec![(5.0, 1), (60.0, 0), (f64::INFINITY, 2)] };
        page.publish(0, vec![sample(Family::CampaignTalkTime, "c", value)]);
        let text = page.render(Format::Text004, &Block::default());
        for line in [r#"_bucket{le="5.0","#, r#"_bucket{le="60.0","#, r#"_bucket{le="+Inf","#] {
            assert!(text.contains(line), "{line} in {text}");
        }
        assert!(text.contains("_count{vendor=\"v\",account=\"a\",agent=\"c\"} 3\n"));
    }
}
