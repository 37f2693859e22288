//! Calls asked for one by one: reads the operator's file, asks for what is due within what the rate allows, and says
//! what becomes of each call. When something is due is decided in `queue`, what a record says in `cdr`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use futures_util::future::BoxFuture;
use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;

use super::api::Access;
use super::cdr::{self, Record};
use super::queue::{self, Outcome, Pace};
use super::ucids::Listed;
use super::{Api, INTERVAL};
use crate::client::{Answer, Client, Lane, Request};
use crate::failure::{Failure, Reason};
use crate::ledger::CallQueue;
use crate::ledger::calendar::day_of;
use crate::reading::{CallId, CallUpdate, PendingCall, Reading};
use crate::settings::{Problems, RateLimit, report_config};
use crate::vendors::{Poll, Report};

report_config! {
    /// `call_details:`
    pub struct CallDetailsReport, default INTERVAL, {
        /// Which API to ask.
        #[serde(default)]
        pub api: Api,
        /// The calls to ask for, one per line.
        pub ucid_file: Option<PathBuf>,
        /// Whether the vendor's post-call callback names calls too; needs `--hooks.listen-address`.
        #[serde(default)]
        pub callback: bool,
    }
}

/// The report.
#[derive(Debug)]
pub(super) struct CallDetails {
    access: Access,
    lane: Lane,
    api: Api,
    zone: TimeZone,
    pace: Pace,
    file: Option<PathBuf>,
    /// When calls that no successful poll has stored yet were first seen: their day is guessed from that.
    first_seen: BTreeMap<CallId, i64>,
    /// The calls that failed in the last poll.
    failed: BTreeSet<CallId>,
}

// === impl CallDetailsReport ===

impl CallDetailsReport {
    pub(super) const NAME: &str = "call_details";

    pub(super) const fn api_name(&self) -> &'static str {
        match self.api {
            Api::V1 => "cdr_v1",
            Api::V2 => "cdr",
        }
    }

    pub(super) const fn documented_limit(&self) -> RateLimit {
        match self.api {
            Api::V1 => RateLimit::per_minute(50),
            Api::V2 => RateLimit::per_minute(2),
        }
    }

    pub(super) fn check(&self, at: &str, problems: &mut Problems) {
        match &self.ucid_file {
            None if !self.callback => {
                problems.add(at, "no source of calls; expected ucid_file, callback: true, or both");
            }
            Some(path) if !problems.folder.join(path).exists() => {
                let path = problems.folder.join(path);
                problems.warn(&format!("{at}.ucid_file"), format!("no such file: {}", path.display()));
            }
            _ => {}
        }
    }
}

// === impl CallDetails ===

impl CallDetails {
    pub(super) fn new(access: Access, lane: Lane, api: Api, zone: TimeZone, pace: Pace, file: Option<PathBuf>) -> Self {
        Self { access, lane, api, zone, pace, file, first_seen: BTreeMap::new(), failed: BTreeSet::new() }
    }

    async fn read_file(&self, now: Timestamp) -> Result<Listed, Failure> {
        let Some(path) = &self.file else { return Ok(Listed::default()) };
        match tokio::fs::read_to_string(path).await {
            Ok(text) => Ok(Listed::parse(&text, day_of(now, &self.zone))),
            Err(_) => Err(Failure::new(
                Reason::Config,
                "ucid_file cannot be read: check its path and that this user may read it",
            )),
        }
    }

    /// The calls to think about: those that are pending, and those of the file that are neither pending nor done.
    fn known(&mut self, listed: &Listed, calls: &CallQueue, now: Timestamp) -> Vec<PendingCall> {
        let mut known = calls.pending.clone();
        for call in &mut known {
            // The operator may add the day later.
            call.day = call.day.or_else(|| listed.calls.get(&call.id)?.day);
        }
        let pending: BTreeSet<_> = calls.pending.iter().map(|call| &call.id).collect();
        let fresh = listed.calls.iter().filter(|(id, _)| !pending.contains(id) && !calls.is_done(id));
        let mut first_seen = BTreeMap::new();
        for (id, entry) in fresh {
            let listed_at = self.first_seen.get(id).copied().unwrap_or(now.as_second());
            first_seen.insert(id.clone(), listed_at);
            known.push(PendingCall { id: id.clone(), day: entry.day, listed_at, due_at: listed_at, counted: false });
        }
        self.first_seen = first_seen;
        known
    }

    /// Asks for one call, day by day where the API wants a day. Says with which day it was found.
    async fn ask(
        &self,
        client: &Client,
        id: &CallId,
        days: &[Date],
        sent: &mut u64,
    ) -> Result<(Record, Option<Date>), Failure> {
        for day in days.iter().take(self.cost(days)) {
            *sent += 1;
            let request = self.request(id, *day)?;
            let decode = |answer: &Answer| Record::decode(answer, self.api);
            let record = self.access.ask(client, &self.lane, self.api, &request, decode).await?;
            if !matches!(record, Record::NoData) {
                return Ok((record, (self.api == Api::V2).then_some(*day)));
            }
        }
        Ok((Record::NoData, None))
    }

    /// Requests for one call: v1 finds it on any day.
    fn cost(&self, days: &[Date]) -> usize {
        match self.api {
            Api::V1 => days.len().min(1),
            Api::V2 => days.len(),
        }
    }

    fn request(&self, id: &CallId, day: Date) -> Result<Request, Failure> {
        let ucid = ("ucid", id.expose());
        match self.api {
            Api::V1 => Ok(self.access.v1("/CAServices/CDR/CallBacks.php", &[ucid, ("reportType", "historical")])),
            Api::V2 => {
                let (from, to) = (format!("{day} 00:00:00"), format!("{day} 23:59:59"));
                self.access.v2("/ca_reports/fetchCdrByUCID", &[ucid, ("fromDate", &from), ("toDate", &to)])
            }
        }
    }

    /// Notes what a record brought. One of which no leg can be read is a call that failed, and not all that was read.
    fn note(record: &Record, reading: &mut Reading) -> Outcome {
        if let Record::Legs(legs, rejected) = record {
            reading.rejected += rejected;
            reading.rows += legs.len() as u64;
            let Some(last_day) = legs.iter().map(|leg| leg.day).max() else {
                reading.failures.push(Failure::malformed("no leg of the call could be read"));
                return Outcome::NoData;
            };
            cdr::count(legs, reading);
            reading.read += 1;
            return Outcome::Counted(last_day);
        }
        reading.read += 1;
        if matches!(record, Record::Open) { Outcome::Open } else { Outcome::NoData }
    }
}

impl Report for CallDetails {
    fn poll<'a>(&'a mut self, poll: Poll<'a>) -> BoxFuture<'a, Result<Reading, Failure>> {
        Box::pin(async move {
            let now = poll.now;
            let mut reading = Reading::default();
            let listed = match self.read_file(now).await {
                Ok(listed) => listed,
                Err(failure) if poll.calls.pending.is_empty() => return Err(failure),
                Err(failure) => {
                    reading.failures.push(failure);
                    Listed::default()
                }
            };
            reading.failures.extend(listed.failures.iter().cloned());
            let known = self.known(&listed, poll.calls, now);
            // One update per call: what is decided later stands in place of what was noted first.
            let mut updates: BTreeMap<CallId, CallUpdate> = known
                .iter()
                .filter(|call| self.first_seen.contains_key(&call.id))
                .map(|call| (call.id.clone(), CallUpdate::Pending(call.clone())))
                .collect();

            let mut failed = BTreeSet::new();
            let mut sent = 0;
            for call in queue::due(&known, &self.failed, &self.zone, now) {
                let days = queue::days(call, &self.zone, self.pace.at(now, sent));
                if sent > 0 && sent + self.cost(&days) as u64 > self.pace.requests {
                    break;
                }
                if days.is_empty() {
                    continue;
                }
                match self.ask(poll.client, &call.id, &days, &mut sent).await {
                    Ok((record, found_on)) => {
                        let outcome = Self::note(&record, &mut reading);
                        if matches!((&record, outcome), (Record::Legs(..), Outcome::NoData)) {
                            failed.insert(call.id.clone());
                        }
                        let update = queue::after(call, found_on, outcome, &self.zone, now);
                        updates.insert(call.id.clone(), update);
                    }
                    Err(failure) => {
                        failed.insert(call.id.clone());
                        let stop = failure.ends_account();
                        reading.failures.push(failure);
                        if stop || reading.is_hopeless() {
                            break;
                        }
                    }
                }
            }
            self.failed = failed;
            if sent == 0 || reading.read > 0 {
                // Nothing to ask for is a poll that went well, and giving a call up must not make it fail. A file of which no
                // line can be read is neither.
                let idle = sent == 0 && !(known.is_empty() && listed.calls.is_empty());
                reading.read += u64::from(idle);
                for call in known.iter().filter(|call| queue::is_over(call, &self.zone, now)) {
                    if !call.counted {
                        let expired =
                            Failure::new(Reason::Expired, "the vendor never gave the call within its 15 days");
                        let line = listed.calls.get(&call.id).map(|entry| format!("line {}", entry.line));
                        reading.failures.push(Failure { place: line, ..expired });
                    }
                    updates.insert(call.id.clone(), CallUpdate::Done(call.id.clone()));
                }
            }
            reading.calls = updates.into_values().collect();
            reading.listed = listed.calls.into_keys().collect();
            Ok(reading)
        })
    }
}

#[cfg(test)]
mod tests;
