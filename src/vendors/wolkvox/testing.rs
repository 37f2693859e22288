//! A report of an account that is answered from a list, for the tests of each.

use std::path::Path;
use std::sync::{Arc, Mutex};

use futures_util::future::BoxFuture;
use jiff::civil::Date;

use super::Account;
use crate::client::{Answer, Client, Request, Transport, TransportError};
use crate::clock::Clock;
use crate::failure::Failure;
use crate::health::Health;
use crate::ledger::CallQueue;
use crate::reading::Reading;
use crate::vendors::{Account as _, Poll, Setup};

type Sent = Arc<Mutex<Vec<String>>>;

/// Answers in turn, and keeps what was sent.
struct Script(Mutex<Vec<(u16, &'static str)>>, Sent);

impl Transport for Script {
    fn send<'a>(&'a self, request: &'a Request) -> BoxFuture<'a, Result<Answer, TransportError>> {
        let headers: Vec<_> =
            request.headers.iter().map(|(n, v)| format!("{n}: {}", v.to_str().unwrap_or("?"))).collect();
        assert!(request.headers.iter().all(|(_, value)| value.is_sensitive()));
        self.1.lock().unwrap().push(format!("{} {} {headers:?}", request.method, request.url));
        let (status, body) = self.0.lock().unwrap().remove(0);
        Box::pin(async move { Ok(Answer { status, retry_after: None, body: body.into() }) })
    }
}

pub(super) fn account(yaml: &str) -> Account {
    serde_yaml::from_str(yaml).unwrap()
}

/// Polls one report, each time for some days and late on the last of them: what came of it, and what was sent.
pub(super) async fn polled(
    report: &str,
    polls: &[&[&str]],
    answers: &[(u16, &'static str)],
) -> (Vec<Result<Reading, Failure>>, Vec<String>) {
    let account = account(&format!("{{account: v, server: '0010', token: c0ffee, reports: {{{report}: {{}}}}}}"));
    let sent = Sent::default();
    let clock = Clock::manual("2026-11-20T23:30:00-05:00".parse().unwrap());
    let script = Script(Mutex::new(answers.to_vec()), Arc::clone(&sent));
    let client = Client::new(account.settings(), Box::new(script), clock.clone(), Health::default());
    let setup = Setup { client: &client, folder: Path::new("."), at: "vendors.wolkvox[0]" };
    let mut reports = account.build(&setup).unwrap();
    let mut outcomes = Vec::new();
    for days in polls {
        clock.set(format!("{}T23:30:00-05:00", days.last().unwrap_or(&"2026-11-20")).parse().unwrap());
        let days: Vec<Date> = days.iter().map(|day| day.parse().unwrap()).collect();
        let poll = Poll { now: clock.now(), client: &client, days: &days, calls: &CallQueue::default() };
        outcomes.push(reports[0].report.poll(poll).await);
    }
    let sent = sent.lock().unwrap().clone();
    (outcomes, sent)
}
