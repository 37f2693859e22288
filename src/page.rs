//! The page: what every scrape reads. It costs a scrape what a static file costs, because all work is done when something
//! changes:
//!
//! - A poll encodes its own report's samples once, into a *block* ([`block`]): per family a piece of text lines, of
//!   protobuf, or of either compressed, whichever of them somebody has asked for of late. Blocks of other reports stay.
//! - Blocks are joined, family by family in the order of the catalogue, into a *generation* ([`join`]): per
//!   representation a list of `Bytes`. Short ones are copied together, group by group of reports, so that a poll copies those
//!   of its neighbours and no others. Publishing is a pointer swap: a scrape sees one generation, whole.
//! - A compressed page is not compressed again: compressed pieces are put behind one another ([`pack`]).
//! - What the exporter says of a report is part of the report's block. What it says of itself and of its accounts is true at
//!   the moment of the scrape: it is encoded then, and goes between.
//!
//! What is wanted for the first time is made from the reports' sources, on the thread of whoever wants it.

mod block;
mod encode;
pub mod histogram;
mod join;
mod message;
pub mod negotiate;
mod pack;
pub mod process;

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::time::Instant;

use crate::catalogue::Family;
pub use block::Block;
use block::{Form, Forms};
pub use encode::{Encoder, Sample, Source, Value};
pub use join::Body;
use join::{Headers, Joined};
pub use negotiate::{Format, Representation};
use pack::Packer;

/// A representation that nobody has asked for in this time is not made at the next publication.
const REMEMBERED: Duration = Duration::from_mins(10);

/// All that is shown now.
pub struct Page {
    /// One at a time: what is compressed leaves the other processors to the scrapes.
    writer: Mutex<Writer>,
    shown: ArcSwap<Generation>,
    /// When each representation was last asked for, in seconds after `start` and one; zero is never.
    asked: [AtomicU64; Representation::COUNT],
    start: Instant,
}

/// What generations are made of.
struct Writer {
    sources: Vec<Option<Arc<dyn Source>>>,
    blocks: Vec<Arc<Block>>,
    /// Places of reports that have left.
    free: Vec<usize>,
    names: Names,
    headers: Headers,
    packer: Packer,
}

/// What scrapes read.
#[derive(Debug, Default)]
struct Generation {
    series: usize,
    pages: [Option<Arc<Joined>>; Representation::COUNT],
}

/// A page to be read, without the exporter's own figures.
#[derive(Debug, Clone)]
pub struct View {
    joined: Arc<Joined>,
    /// Vendor series on it.
    pub series: usize,
}

/// Which report names an entity: of two that know it only one may, as `*_info` stands once per entity. The other one
/// takes over when the first has stopped.
#[derive(Debug, Default)]
struct Names(HashMap<Name, usize>);

/// The labels are vendor, account and entity.
type Name = (Family, Vec<Arc<str>>);

impl Page {
    /// A page with room for so many reports.
    pub fn new(reports: usize) -> Self {
        let empty = Arc::new(Block::default());
        let writer = Writer {
            sources: vec![None; reports],
            blocks: (0..reports).map(|_| Arc::clone(&empty)).collect(),
            free: Vec::new(),
            names: Names::default(),
            headers: Headers::default(),
            packer: Packer::new(),
        };
        Self {
            writer: Mutex::new(writer),
            shown: ArcSwap::default(),
            asked: [const { AtomicU64::new(0) }; Representation::COUNT],
            start: Instant::now(),
        }
    }

    /// A place for one more report: a free one, or a new one.
    pub fn join(&self) -> usize {
        let mut writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        writer.free.pop().unwrap_or_else(|| {
            writer.sources.push(None);
            writer.blocks.push(Arc::default());
            writer.blocks.len() - 1
        })
    }

    /// The report has gone: what it had shown leaves, and its place is free.
    pub fn leave(&self, report: usize) {
        self.publish(report, Arc::new(Vec::new()));
        self.writer.lock().unwrap_or_else(PoisonError::into_inner).free.push(report);
    }

    /// Shows what `source` has now in place of what the report of that number had shown. It takes a while: long pages are
    /// encoded and compressed.
    pub fn publish(&self, report: usize, source: Arc<dyn Source>) {
        let mut writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        let wanted = self.wanted();
        if let Some(place) = writer.sources.get_mut(report) {
            *place = Some(source);
            writer.encode(report, forms(&wanted));
            self.show(&mut writer, &wanted);
        }
    }

    /// The page as it is now, if it is there in that representation. From now on it will be.
    pub fn view(&self, representation: Representation) -> Option<View> {
        let index = representation.index();
        self.asked[index].store(self.start.elapsed().as_secs() + 1, Ordering::Relaxed);
        let shown = self.shown.load();
        Some(View { joined: shown.pages[index].clone()?, series: shown.series })
    }

    /// The page as it is now, made if need be, which takes a while.
    pub fn make(&self, representation: Representation) -> View {
        if let Some(view) = self.view(representation) {
            return view;
        }
        let mut writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        let wanted = self.wanted();
        // Somebody else may have made it in the meantime.
        if self.shown.load().pages[representation.index()].is_none() {
            self.show(&mut writer, &wanted);
        }
        let pages = self.shown.load();
        let made = pages.pages[representation.index()].clone();
        let joined = made.unwrap_or_else(|| Arc::new(writer.join(representation, None)));
        View { joined, series: pages.series }
    }

    /// Vendor series that are shown now.
    pub fn series(&self) -> usize {
        self.shown.load().series
    }

    /// The whole page as one text; `own` is the exporter's own block.
    pub fn render(&self, format: Format, own: &Block) -> String {
        let body = self.make(Representation { format, gzip: false }).with(own);
        String::from_utf8(body.concat()).unwrap_or_default()
    }

    fn wanted(&self) -> Vec<Representation> {
        let now = self.start.elapsed().as_secs() + 1;
        let recent = |representation: &Representation| {
            let asked = self.asked[representation.index()].load(Ordering::Relaxed);
            asked > 0 && now - asked.min(now) < REMEMBERED.as_secs()
        };
        Representation::all().into_iter().filter(recent).collect()
    }

    /// Makes and shows a generation of all blocks.
    fn show(&self, writer: &mut Writer, wanted: &[Representation]) {
        writer.fit(forms(wanted));
        let mut generation =
            Generation { series: writer.blocks.iter().map(|block| block.series()).sum(), ..Generation::default() };
        let before = self.shown.load();
        for representation in wanted {
            let place = representation.index();
            let joined = writer.join(*representation, before.pages[place].as_deref());
            generation.pages[place] = Some(Arc::new(joined));
        }
        self.shown.store(Arc::new(generation));
    }
}

impl std::fmt::Debug for Page {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Page({} series)", self.series())
    }
}

impl View {
    /// The whole page; `own` is the exporter's own block.
    pub fn with(&self, own: &Block) -> Body {
        self.joined.with(own)
    }
}

fn forms(wanted: &[Representation]) -> Forms {
    wanted.iter().map(|representation| Form::of(*representation)).collect()
}

// === impl Writer ===

impl Writer {
    /// Encodes a report anew.
    fn encode(&mut self, report: usize, forms: Forms) {
        let Some(Some(source)) = self.sources.get(report).map(Option::as_deref) else { return };
        let mut shown = HashSet::new();
        let names = &mut self.names;
        let may_show = Box::new(|family, entity: &[Arc<str>]| {
            let name = (family, entity.to_vec());
            let may = names.may_show(report, &name);
            if may {
                shown.insert(name);
            }
            may
        });
        let block = Block::encode(source, forms, may_show, Some(&mut self.packer));
        // Others may have the names that it has left.
        self.names.0.retain(|name, owner| *owner != report || shown.contains(name));
        self.blocks[report] = Arc::new(block);
    }

    /// Sees to it that all blocks have these forms and no others.
    fn fit(&mut self, wanted: Forms) {
        for report in 0..self.blocks.len() {
            let block = &self.blocks[report];
            if !block.forms().meet(wanted) {
                self.encode(report, wanted);
            } else if !wanted.meet(block.forms()) {
                self.blocks[report] = Arc::new(block.without(wanted));
            }
        }
    }

    fn join(&mut self, representation: Representation, before: Option<&Joined>) -> Joined {
        Joined::new(representation, before, &self.blocks, &mut self.headers, &mut self.packer)
    }
}

// === impl Names ===

impl Names {
    fn may_show(&mut self, report: usize, name: &Name) -> bool {
        *self.0.entry(name.clone()).or_insert(report) == report
    }
}

#[cfg(test)]
mod tests {
    use super::histogram::HistogramValue;
    use super::*;
    use crate::amount::Amount;

    fn sample(family: Family, agent: &str, value: Value) -> Sample {
        Sample {
            family,
            labels: vec![("vendor", "v".into()), ("account", "a".into()), ("agent", agent.into())],
            value,
            created: None,
        }
    }

    #[test]
    fn one_family_of_two_reports_stands_together_under_one_header() {
        let page = Page::new(2);
        let talk = |agent: &str, n| sample(Family::AgentTalk, agent, Value::Counter(Amount::whole(n)));
        page.publish(0, Arc::new(vec![talk("z", 1), talk("b \"q\" \\ \n", 2)]));
        page.publish(1, Arc::new(vec![talk("y", 3), sample(Family::AgentSignedIn, "y", Value::Gauge(1.0))]));
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
        page.publish(1, Arc::new(Vec::new()));
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
        page.publish(0, Arc::new(info("Asha")));
        page.publish(1, Arc::new(info("Asha P.")));
        assert!(shown().contains("agent_name=\"Asha\"") && page.series() == 1, "{}", shown());
        page.publish(0, Arc::new(info("Asha Q.")));
        assert!(shown().contains("agent_name=\"Asha Q.\"") && page.series() == 1, "{}", shown());
        page.publish(0, Arc::new(Vec::new()));
        page.publish(1, Arc::new(info("Asha P.")));
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
        page.publish(0, Arc::new(block("r0", 0)));
        page.publish(1, Arc::new(block("r1", 0)));
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
                scope.spawn(move || {
                    (1..=ROUNDS).for_each(|n| page.publish(report, Arc::new(block(&format!("r{report}"), n))));
                });
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
            Arc::new(vec![
                sample(Family::AgentMute, name, Value::Counter(Amount::ONE)),
                sample(Family::AgentSignedIn, name, Value::Gauge(1.0)),
            ]),
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
        let buckets = vec![(5.0, 1), (60.0, 0), (f64::INFINITY, 2)];
        let value = Value::Histogram(HistogramValue { sum: 61.0, buckets, native: None });
        page.publish(0, Arc::new(vec![sample(Family::CampaignTalkTime, "c", value)]));
        let text = page.render(Format::Text004, &Block::default());
        for line in [r#"_bucket{le="5.0","#, r#"_bucket{le="60.0","#, r#"_bucket{le="+Inf","#] {
            assert!(text.contains(line), "{line} in {text}");
        }
        assert!(text.contains("_count{vendor=\"v\",account=\"a\",agent=\"c\"} 3\n"));
    }
}
