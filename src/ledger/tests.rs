//! Books over a store in memory: what survives a restart, what is refused, who is forgotten.

use std::time::Duration;

use jiff::civil::{Date, date};
use jiff::tz::TimeZone;

use super::entity::Key;
use super::*;
use crate::catalogue::Family;
use crate::reading::{Bucket, CallId, CallUpdate, PendingCall};

/// A store whose contents outlive it, and that can be told to fail.
#[derive(Clone, Default)]
struct Memory(Arc<Mutex<(Pairs, bool)>>);

type Pairs = BTreeMap<String, Vec<u8>>;

impl Store for Memory {
    fn read(&mut self, prefix: &str) -> Result<Vec<(String, Vec<u8>)>, StoreError> {
        let memory = self.0.lock().unwrap();
        Ok(memory.0.iter().filter(|(key, _)| key.starts_with(prefix)).map(|(k, v)| (k.clone(), v.clone())).collect())
    }

    fn commit(&mut self, writes: &Writes) -> Result<(), StoreError> {
        let mut memory = self.0.lock().unwrap();
        if memory.1 {
            return Err(StoreError::Write { path: "memory".to_owned(), cause: "full".to_owned() });
        }
        for (key, value) in writes {
            match value {
                Some(value) => memory.0.insert(key.clone(), value.clone()),
                None => memory.0.remove(key),
            };
        }
        drop(memory);
        Ok(())
    }
}

impl Memory {
    fn fail(&self, yes: bool) {
        self.0.lock().unwrap().1 = yes;
    }

    fn ledger(&self) -> Ledger {
        Ledger::open(Box::new(self.clone()), "memory").unwrap()
    }

    fn book(&self, mode: AgentLabel) -> Book {
        let ledger = self.ledger();
        let key: Option<&[u8]> = (mode == AgentLabel::Pseudonym).then_some(b"k");
        ledger.book("wolkvox", "ventas", "agent_hold_mute", ledger.names(mode, key)).unwrap()
    }
}

fn settings() -> ReportSettings {
    ReportSettings::every(Duration::from_mins(5))
}

fn utc() -> Calendar {
    Calendar::Days { zone: TimeZone::UTC }
}

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

/// One poll that read `figures` (agent, day, seconds on hold).
fn poll(book: &mut Book, now: &str, figures: &[(&str, Date, u64)]) -> Result<Applied, StoreError> {
    let due = book.due(at(now), &utc(), &settings());
    let mut reading = Reading { days: due.days.clone(), ..Reading::default() };
    for (agent, day, seconds) in figures {
        let agent = Entity::agent(agent).unwrap();
        reading.figure(Family::AgentHold, &agent, &Bucket::Day(*day), Amount::whole(*seconds));
    }
    book.apply(&reading, at(now), &utc(), &settings(), &due)
}

fn hold(book: &Book, entity: &Entity) -> Option<u64> {
    let totals = book.totals();
    let (_, amount) = totals.get(entity)?.iter().find(|(slot, _)| slot.family == Family::AgentHold)?;
    amount.as_whole()
}

const TENTH: Date = date(2026, 3, 10);
const ELEVENTH: Date = date(2026, 3, 11);

fn ana() -> Entity {
    Entity::agent("ana").unwrap()
}

#[test]
fn days_add_up_over_restarts_and_settled_days_count_no_more() {
    let memory = Memory::default();
    poll(&mut memory.book(AgentLabel::Plain), "2026-03-10T12:00:00Z", &[("ana", TENTH, 100)]).unwrap();
    let mut book = memory.book(AgentLabel::Plain);
    assert_eq!(hold(&book, &ana()), Some(100));
    poll(&mut book, "2026-03-11T00:10:00Z", &[("ana", TENTH, 130), ("ana", ELEVENTH, 5)]).unwrap();
    let mut book = memory.book(AgentLabel::Plain);
    let lower = poll(&mut book, "2026-03-11T01:30:00Z", &[("ana", TENTH, 120), ("ana", ELEVENTH, 5)]).unwrap();
    assert_eq!((lower.revisions, hold(&book, &ana())), (1, Some(135)));
    poll(&mut book, "2026-03-11T06:30:00Z", &[("ana", TENTH, 140), ("ana", ELEVENTH, 20)]).unwrap();
    assert_eq!(hold(&book, &ana()), Some(160));
    assert!(book.entities[&ana()].cells.keys().all(|key| *key == Key::Day(ELEVENTH)), "the tenth is folded");
    let mut book = memory.book(AgentLabel::Plain);
    poll(&mut book, "2026-03-11T08:00:00Z", &[("ana", TENTH, 999), ("ana", ELEVENTH, 20)]).unwrap();
    assert_eq!(hold(&book, &ana()), Some(160), "a settled day is in the total already");
}

#[test]
fn what_could_not_be_stored_was_never_read() {
    let memory = Memory::default();
    let mut book = memory.book(AgentLabel::Plain);
    poll(&mut book, "2026-03-10T12:00:00Z", &[("ana", TENTH, 100)]).unwrap();
    memory.fail(true);
    assert!(poll(&mut book, "2026-03-10T12:05:00Z", &[("ana", TENTH, 150), ("ben", TENTH, 1)]).is_err());
    assert_eq!((hold(&book, &ana()), hold(&book, &Entity::agent("ben").unwrap())), (Some(100), None));
    assert_eq!(book.last_success(), Some(at("2026-03-10T12:00:00Z")));
    memory.fail(false);
    poll(&mut book, "2026-03-10T12:10:00Z", &[("ana", TENTH, 160)]).unwrap();
    assert_eq!(hold(&memory.book(AgentLabel::Plain), &ana()), Some(160));
}

#[test]
fn without_names_the_sum_never_falls_even_when_an_agent_is_dropped() {
    let memory = Memory::default();
    let mut book = memory.book(AgentLabel::None);
    poll(&mut book, "2026-03-10T12:00:00Z", &[("ana", TENTH, 100), ("ben", TENTH, 7)]).unwrap();
    assert_eq!(hold(&book, &Entity::Account), Some(107));
    let day = date(2026, 4, 12);
    poll(&mut book, "2026-04-12T12:00:00Z", &[("ben", day, 3)]).unwrap();
    let mut book = memory.book(AgentLabel::None);
    assert_eq!(book.entities.len(), 2, "ben, and the sum of those who are gone");
    assert_eq!(hold(&book, &Entity::Account), Some(110));
    poll(&mut book, "2026-04-12T13:00:00Z", &[("ana", day, 5), ("ben", day, 3)]).unwrap();
    assert_eq!(hold(&book, &Entity::Account), Some(115));
    assert!(memory.0.lock().unwrap().0.values().all(|value| !value.windows(3).any(|w| w == b"ana" || w == b"ben")));
}

#[test]
fn agents_whom_the_vendor_has_forgotten_are_dropped_after_thirty_days() {
    let memory = Memory::default();
    let mut book = memory.book(AgentLabel::Plain);
    poll(&mut book, "2026-03-10T12:00:00Z", &[("ana", TENTH, 100), ("ben", TENTH, 7)]).unwrap();
    poll(&mut book, "2026-04-08T12:00:00Z", &[("ben", date(2026, 4, 8), 3)]).unwrap();
    assert_eq!(hold(&book, &ana()), Some(100));
    poll(&mut book, "2026-04-12T12:00:00Z", &[("ben", date(2026, 4, 12), 3)]).unwrap();
    let book = memory.book(AgentLabel::Plain);
    assert_eq!((hold(&book, &ana()), hold(&book, &Entity::agent("ben").unwrap())), (None, Some(13)));
}

#[test]
fn an_account_that_left_keeps_its_state_for_thirty_days() {
    let memory = Memory::default();
    poll(&mut memory.book(AgentLabel::Plain), "2026-03-10T12:00:00Z", &[("ana", TENTH, 100)]).unwrap();
    memory.ledger().forget_all_but(&[], at("2026-04-09T11:00:00Z")).unwrap();
    assert_eq!(hold(&memory.book(AgentLabel::Plain), &ana()), Some(100));
    let prefix = memory.book(AgentLabel::Plain).prefix().to_owned();
    memory.ledger().forget_all_but(&[prefix], at("2026-04-09T13:00:00Z")).unwrap();
    assert_eq!(hold(&memory.book(AgentLabel::Plain), &ana()), Some(100), "in use");
    memory.ledger().forget_all_but(&[], at("2026-04-09T13:00:00Z")).unwrap();
    assert_eq!(hold(&memory.book(AgentLabel::Plain), &ana()), None);
}

#[test]
fn a_newer_format_is_refused() {
    let memory = Memory::default();
    drop(memory.ledger());
    memory.0.lock().unwrap().0.insert("meta/format".to_owned(), (FORMAT + 1).to_be_bytes().to_vec());
    let error = Ledger::open(Box::new(memory.clone()), "memory").unwrap_err();
    assert!(matches!(error, StoreError::Newer { found: 2, known: 1, .. }), "{error}");
    memory.0.lock().unwrap().0.remove("meta/format");
    let error = Ledger::open(Box::new(memory), "memory").unwrap_err();
    assert!(matches!(error, StoreError::Damaged { .. }), "{error}");
}

#[test]
fn a_call_is_done_only_with_its_figures() {
    let memory = Memory::default();
    let ledger = memory.ledger();
    let calendar = Calendar::Calls { zone: TimeZone::UTC };
    let names = ledger.names(AgentLabel::Plain, None);
    let mut book = ledger.book("ozonetel", "support", "calls", names.clone()).unwrap();
    let id = CallId::new("4117");
    let pending = PendingCall { id: id.clone(), day: None, listed_at: 9, due_at: 9, counted: false };
    let listed = Reading { calls: vec![CallUpdate::Pending(pending)], ..Reading::default() };
    let due = calendar::Due::default();
    book.apply(&listed, at("2026-03-10T12:00:00Z"), &calendar, &settings(), &due).unwrap();
    assert_eq!(book.backlog(), (1, Some(9)));
    let mut counted = Reading { calls: vec![CallUpdate::Done(id.clone())], ..Reading::default() };
    let bucket = Bucket::Call { day: TENTH, id: id.clone() };
    counted.figure(Family::AgentTalk, &ana(), &bucket, Amount::whole(60));
    memory.fail(true);
    assert!(book.apply(&counted, at("2026-03-10T12:05:00Z"), &calendar, &settings(), &due).is_err());
    assert!(!book.queue().is_done(&id) && book.totals().is_empty());
    memory.fail(false);
    for now in ["2026-03-10T12:10:00Z", "2026-03-10T12:15:00Z"] {
        book.apply(&counted, at(now), &calendar, &settings(), &due).unwrap();
    }
    let book = ledger.book("ozonetel", "support", "calls", names).unwrap();
    assert!(book.queue().is_done(&id));
    assert_eq!(book.totals()[&ana()][0].1, Amount::whole(60), "counted once");
}

#[test]
fn agents_that_get_other_names_take_their_figures_along() {
    let memory = Memory::default();
    let plain = |word: &[u8]| memory.0.lock().unwrap().0.values().any(|value| value.windows(3).any(|w| w == word));
    poll(&mut memory.book(AgentLabel::Plain), "2026-03-10T12:00:00Z", &[("ana", TENTH, 100)]).unwrap();
    assert!(plain(b"ana"));
    let mut book = memory.book(AgentLabel::Pseudonym);
    assert!(!plain(b"ana"), "not even on disk");
    let pseudonym = book.name(&ana());
    assert_eq!((hold(&book, &pseudonym), hold(&book, &ana())), (Some(100), None));
    poll(&mut book, "2026-03-10T13:00:00Z", &[("ana", TENTH, 130)]).unwrap();
    assert_eq!(hold(&memory.book(AgentLabel::Pseudonym), &pseudonym), Some(130));
    let mut book = memory.book(AgentLabel::Plain);
    assert_eq!(book.totals().len(), 0, "a pseudonym cannot be turned back");
    poll(&mut book, "2026-03-10T14:00:00Z", &[("ana", TENTH, 140)]).unwrap();
    assert_eq!(hold(&book, &ana()), Some(140));
    let mut book = memory.book(AgentLabel::None);
    poll(&mut book, "2026-03-10T15:00:00Z", &[("ana", TENTH, 150)]).unwrap();
    assert_eq!(hold(&book, &Entity::Account), Some(150));
}

#[test]
fn a_past_day_that_cannot_be_read_is_asked_for_hourly() {
    let memory = Memory::default();
    let mut book = memory.book(AgentLabel::Plain);
    poll(&mut book, "2026-03-10T12:00:00Z", &[("ana", TENTH, 100)]).unwrap();
    let mut days = |now: &str| book.due(at(now), &utc(), &settings()).days;
    assert_eq!(days("2026-03-11T09:00:00Z"), [TENTH, ELEVENTH]);
    assert_eq!(days("2026-03-11T09:05:00Z"), [ELEVENTH]);
    assert_eq!(days("2026-03-11T09:59:59Z"), [ELEVENTH]);
    assert_eq!(days("2026-03-11T10:00:00Z"), [TENTH, ELEVENTH]);
    assert_eq!(days("2026-03-11T08:00:00Z"), [TENTH, ELEVENTH], "a clock that steps back does not stop it");
}

#[test]
fn calls_that_a_failed_poll_listed_outlive_a_restart() {
    let memory = Memory::default();
    let ledger = memory.ledger();
    let names = ledger.names(AgentLabel::Plain, None);
    let mut book = ledger.book("ozonetel", "support", "calls", names.clone()).unwrap();
    let pending = PendingCall { id: CallId::new("4117"), day: None, listed_at: 9, due_at: 9, counted: false };
    let listed = Reading { calls: vec![CallUpdate::Pending(pending)], ..Reading::default() };
    book.keep_calls(&listed, at("2026-03-10T12:00:00Z")).unwrap();
    let book = ledger.book("ozonetel", "support", "calls", names).unwrap();
    assert_eq!((book.backlog(), book.last_success()), ((1, Some(9)), None));
}

#[test]
fn a_call_that_is_told_between_two_polls_is_there_once_and_only_if_it_is_stored() {
    let memory = Memory::default();
    let book = || {
        let ledger = memory.ledger();
        ledger.book("ozonetel", "support", "calls", ledger.names(AgentLabel::Plain, None)).unwrap()
    };
    let (mut first, id, now) = (book(), CallId::new("100200300"), at("2026-03-10T12:00:00Z"));
    memory.fail(true);
    assert!(first.add_call(id.clone(), now).is_err());
    assert_eq!(first.backlog().0, 0);
    memory.fail(false);
    first.add_call(id.clone(), now).unwrap();
    let mut again = book();
    // Told twice: neither its age nor that it was counted is forgotten.
    let counted = PendingCall { counted: true, ..again.queue().pending[0].clone() };
    assert_eq!(counted.listed_at, now.as_second());
    again
        .keep_calls(&Reading { calls: vec![CallUpdate::Pending(counted.clone())], ..Reading::default() }, now)
        .unwrap();
    memory.fail(true);
    again.add_call(id.clone(), at("2026-03-10T13:00:00Z")).expect("known, so nothing is written");
    memory.fail(false);
    assert_eq!(again.queue().pending, [counted]);
    again.keep_calls(&Reading { calls: vec![CallUpdate::Done(id.clone())], ..Reading::default() }, now).unwrap();
    again.add_call(id.clone(), now).unwrap();
    assert!(book().queue().pending.is_empty() && book().queue().is_done(&id));
}

#[test]
fn another_call_report_counts_from_the_next_local_day_on() {
    let memory = Memory::default();
    let (details, records) = (Calendar::Calls { zone: TimeZone::UTC }, Calendar::Records { zone: TimeZone::UTC });
    let open = |report: &str, calendar: &Calendar, now: &str| {
        let ledger = memory.ledger();
        let mut book = ledger.book("ozonetel", "support", "calls", ledger.names(AgentLabel::Plain, None)).unwrap();
        book.take_turn(report, calendar, at(now)).unwrap();
        book
    };
    let poll = |book: &mut Book, calendar: &Calendar, now: &str, calls: &[(&str, Date)]| {
        let mut reading = Reading::default();
        for (id, day) in calls {
            let bucket = Bucket::Call { day: *day, id: CallId::new(*id) };
            reading.figure(Family::AgentHold, &ana(), &bucket, Amount::whole(10));
        }
        book.apply(&reading, at(now), calendar, &settings(), &calendar::Due::default()).unwrap();
        hold(book, &ana())
    };
    let mut book = open("call_details", &details, "2026-03-10T12:00:00Z");
    assert_eq!(poll(&mut book, &details, "2026-03-10T12:00:00Z", &[("1", TENTH)]), Some(10));
    let mut book = open("call_records", &records, "2026-03-10T13:00:00Z");
    let calls = [("1", TENTH), ("2", TENTH), ("3", ELEVENTH)];
    assert_eq!(poll(&mut book, &records, "2026-03-10T13:00:00Z", &calls[..2]), Some(10), "today is the other's");
    assert!(book.entities[&ana()].cells.keys().next().is_none(), "and is folded");
    // A restart changes nothing.
    let mut book = open("call_records", &records, "2026-03-11T01:00:00Z");
    assert_eq!(poll(&mut book, &records, "2026-03-11T01:00:00Z", &calls), Some(20));
    let mut book = open("call_details", &details, "2026-03-11T12:00:00Z");
    assert_eq!(poll(&mut book, &details, "2026-03-11T12:00:00Z", &[("4", ELEVENTH)]), Some(20));
    assert_eq!(
        poll(&mut book, &details, "2026-03-12T12:00:00Z", &[("4", ELEVENTH), ("5", date(2026, 3, 12))]),
        Some(30)
    );
}

#[test]
fn records_are_folded_when_their_day_is_closed() {
    let memory = Memory::default();
    let calendar = Calendar::Records { zone: TimeZone::UTC };
    let ledger = memory.ledger();
    let mut book = ledger.book("ozonetel", "support", "calls", ledger.names(AgentLabel::Plain, None)).unwrap();
    book.take_turn("call_records", &calendar, at("2026-03-10T12:00:00Z")).unwrap();
    let mut poll = |now: &str, hold_seconds: u64| {
        let due = book.queue().windows.due(at(now), &TimeZone::UTC, 3, &settings());
        let windows = due.tail.into_iter().chain(due.rest).collect();
        let mut reading = Reading { windows, ..Reading::default() };
        let bucket = Bucket::Call { day: TENTH, id: CallId::new("1") };
        reading.figure(Family::AgentHold, &ana(), &bucket, Amount::whole(hold_seconds));
        let applied = book.apply(&reading, at(now), &calendar, &settings(), &calendar::Due::default()).unwrap();
        (hold(&book, &ana()), book.entities[&ana()].cells.keys().count(), applied.lost_days)
    };
    assert_eq!(poll("2026-03-10T12:00:00Z", 10), (Some(10), 1, 0));
    assert_eq!(poll("2026-03-11T04:00:00Z", 12), (Some(12), 1, 0));
    assert_eq!(poll("2026-03-11T06:00:00Z", 13), (Some(13), 0, 0), "counted, and settled");
    assert_eq!(poll("2026-03-11T07:00:00Z", 99), (Some(13), 0, 0), "a closed day counts no more");
    assert_eq!(poll("2026-03-20T07:00:00Z", 99).2, 6, "days beyond backfill");
}
