//! What is told of polls, on the page and in the log.

use std::io::{self, Write};

use tracing::Level;

use super::*;
use crate::cli::LogFormat;
use crate::telemetry;

#[test]
fn a_report_that_leaves_takes_its_backlog_along() {
    let health = Health::default();
    let id = |report| ReportId { vendor: "ozonetel", account: "a".into(), report };
    for report in ["agent_summary", "call_details"] {
        health.register(&id(report), Duration::from_secs(30), None);
    }
    health.backlog(&id("call_details"), 3, Some(5));
    assert!(health.block(0).has(Family::PendingCalls));
    health.forget(&id("call_details"), false);
    let block = health.block(0);
    assert!(!block.has(Family::PendingCalls) && !block.has(Family::OldestPendingCall));
    assert!(health.samples_of(&id("agent_summary")).iter().any(|sample| sample.family == Family::Polls));
}

#[test]
fn new_guids_are_told_even_if_all_of_them_are_refused() {
    let (health, at) = (Health::default(), Timestamp::UNIX_EPOCH);
    let id = ReportId { vendor: "huawei", account: "a".into(), report: "agent_call_statistics" };
    health.register(&id, Duration::from_secs(30), None);
    let reading = Reading { source_changed: true, ..Reading::default() };
    health.poll_failed(&id, at, Duration::ZERO, &Failure::new(Reason::Auth, "refused"), Some(&reading));
    assert!(health.samples(0).iter().any(|sample| sample.family == Family::GuidsChanged));
    assert_eq!(health.reports()[0].1.up, Some(false));
}

/// Where a log goes that a test reads.
#[derive(Clone, Default)]
struct Paper(Arc<Mutex<Vec<u8>>>);

impl Write for Paper {
    fn write(&mut self, piece: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(piece);
        Ok(piece.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The lines that are logged at info and above.
fn logged(format: LogFormat, act: impl FnOnce()) -> Vec<String> {
    let paper = Paper::default();
    let writer = paper.clone();
    let subscriber = telemetry::subscriber(Level::INFO, format, move || writer.clone());
    tracing::subscriber::with_default(subscriber, act);
    let text = String::from_utf8(paper.0.lock().unwrap().clone()).unwrap();
    text.lines().map(str::to_owned).collect()
}

fn registered() -> (Health, ReportId) {
    let (health, id) = (Health::default(), ReportId { vendor: "huawei", account: "a".into(), report: "statistics" });
    health.register(&id, Duration::from_secs(30), None);
    (health, id)
}

#[test]
fn a_failure_is_told_when_it_comes_changes_or_comes_back_and_recovery_once() {
    const REFUSED: Failure = Failure::new(Reason::Auth, "refused");
    const WRONG: Failure = Failure::new(Reason::Config, "wrong");
    let at = |place: &str| WRONG.at(place.to_owned());
    let (health, id) = registered();
    let lines = |polls: &[Option<&Failure>]| {
        logged(LogFormat::Logfmt, || {
            for poll in polls {
                let now = Timestamp::UNIX_EPOCH;
                match poll {
                    Some(failure) => health.poll_failed(&id, now, Duration::ZERO, failure, None),
                    None => health.poll_succeeded(&id, now, Duration::ZERO, &Reading::default(), Applied::default()),
                }
            }
        })
    };
    assert_eq!(lines(&[Some(&REFUSED), Some(&REFUSED), Some(&REFUSED)]).len(), 1, "repeats");
    assert_eq!(lines(&[Some(&at("line 3")), Some(&at("line 3"))]).len(), 1, "another reason");
    assert_eq!(lines(&[Some(&at("line 4")), Some(&at("line 4"))]).len(), 1, "another place");
    let back = lines(&[Some(&REFUSED), Some(&REFUSED)]);
    assert!(back.len() == 1 && back[0].contains("level=warn") && back[0].contains("reason=auth"), "{back:?}");
    let up = lines(&[None, None, None]);
    assert!(up.len() == 1 && up[0].contains("level=info") && up[0].contains("report is up"), "{up:?}");
    assert_eq!(lines(&[Some(&REFUSED)]).len(), 1, "the same as before it was up");
}

#[test]
fn entities_are_told_as_polls_are_and_many_are_told_as_many_once() {
    let (health, id) = registered();
    let poll = |failing: usize| {
        let failure = |n: usize| Failure::new(Reason::Config, "unknown").at(format!("line {n}"));
        let reading = Reading { read: 1, failures: (0..failing).map(failure).collect(), ..Reading::default() };
        logged(LogFormat::Logfmt, || {
            health.poll_succeeded(&id, Timestamp::UNIX_EPOCH, Duration::ZERO, &reading, Applied::default());
        })
    };
    assert_eq!(poll(2).len(), 3, "two failures, and that the report is up");
    assert_eq!(poll(2), Vec::<String>::new());
    assert_eq!(health.reports()[0].1.entities.len(), 2);
    assert_eq!(poll(25).len(), 19, "18 that are new, and that there are more");
    assert_eq!(poll(25), Vec::<String>::new());
    let over = poll(0);
    assert!(over.len() == 1 && over[0].contains("no entity fails any more"), "{over:?}");
    assert_eq!(poll(0), Vec::<String>::new());
    assert_eq!(health.reports()[0].1.entities, []);
}

#[test]
fn one_event_is_one_line_in_either_format() {
    let act = || {
        let (health, id) = registered();
        let failure = Failure::new(Reason::Tls, "first\nsecond \"quoted\"").at("line\n3".to_owned());
        health.poll_failed(&id, Timestamp::UNIX_EPOCH, Duration::ZERO, &failure, None);
    };
    let logfmt = logged(LogFormat::Logfmt, act);
    assert!(logfmt.len() == 1 && logfmt[0].contains("vendor=huawei"), "{logfmt:?}");
    let json = logged(LogFormat::Json, act);
    let line: serde_json::Value = serde_json::from_str(&json[0]).unwrap();
    assert_eq!((json.len(), &line["reason"], &line["place"]), (1, &"tls".into(), &"line\n3".into()));
}
