//! All calls of an account, by the page (`fetchCdrByPagination`): two requests a minute, 500 rows a page, one local day per
//! request, newest first, and a day may hold 20,000 rows.
//!
//! **What is read when.** The ledger says which windows of which days are due ([`crate::ledger::windows`]): the latest ones
//! of today at every poll, older ones as they age, a past day hourly from 03:00 until it has settled. Windows that follow
//! each other are read in one go, as many as their rows of last time fit ([`chunk`]), the present first and then the
//! oldest, as long as the interval has room at the vendor's pace. Where one page holds more of today than is due, it is
//! read along.
//!
//! **Why every leg counts once, with its highest figures.** A leg is a bucket by its `UCID`, so to read it again is
//! harmless. A window counts as read only if all its pages were seen whole ([`pages`]), and a day closes only when each of
//! its windows was read so after the day had settled. Until then each leg is a bucket in the ledger, afterwards figures of
//! that day are not taken any more.
//!
//! **Why every call counts once.** A call is a bucket by its `CallID`, and belongs to the campaign of its first leg. Only
//! who knows all its legs can say which that is, and whether one was answered. So a request reaches [`chunk::MARGIN`]
//! windows beyond those that it is for, into the neighbouring day too, and only calls with a leg in the inner windows are
//! counted. That is widened, and the rest asked for before anything of it counts, in two cases: a caller waited to beyond its
//! end, as an agent's leg begins where the queue's ends; or somebody waited longer than it reaches back, up to two hours, so
//! that an agent's leg is not taken for the whole of a call that began long before. Of today nothing is said of a call without
//! an answered leg until its last leg has been over for a minute, and half an hour where a queue handed the caller on.
//! The first two hours of a day wait for 03:00 with their calls, as their first legs may stand on yesterday, and a call is
//! counted on the day of its first leg; they are read with yesterday's last two. While pages are read a call may come
//! of which one leg belongs on a page that was read before: where the list has grown, calls that are seen for the first time
//! wait for the next look, and their windows with them.
//!
//! **When two requests a minute do not suffice** for the present with an hour before it and for a part of the past, two of three
//! polls ask for the present alone, and say nothing of its calls.
//!
//! **What remains.** A leg that begins more than half an hour after the start of a talk before it may be seen without that: it
//! counts as a call of its own where the campaigns differ, and as unanswered if it is. The same holds for the first long wait
//! of a day on a busy account, as far as the time to answer goes, and for waits of more than an hour and a half.
//! A call over midnight of which a leg begins before 22:00 or after 02:00 may count on both days.

mod chunk;
mod pages;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use futures_util::future::BoxFuture;
use jiff::civil::{Date, DateTime};
use jiff::tz::TimeZone;

use super::INTERVAL;
use super::api::Access;
use super::cdr::bulk;
use super::queue::{Pace, READY_HOUR, ready_hour};
use crate::client::{Client, Lane};
use crate::failure::Failure;
use crate::ledger::calendar::day_of;
use crate::ledger::windows::DueWindows;
use crate::reading::{CallId, Reading};
use crate::settings::{RateLimit, ReportSettings, report_config};
use crate::vendors::{Poll, Report};
use chunk::{Chunk, Density, Present};
use pages::{Pages, Seen};

/// So many polls in a row may say nothing of the present's calls.
const MOST_HURRIED: u8 = 2;
/// After so many failures the next poll tries the others.
const MOST_FAILURES: usize = 3;

report_config! {
    /// `call_records:`
    pub struct CallRecordsReport, default INTERVAL, {}
}

/// The report.
#[derive(Debug)]
pub(super) struct CallRecords {
    access: Access,
    lane: Lane,
    zone: TimeZone,
    pace: Pace,
    settings: ReportSettings,
    density: Density,
    /// Whether a poll has shown the present since the start.
    begun: bool,
    /// How many polls in a row have said nothing of the present's calls.
    hurried: u8,
    /// Calls that wait for the next look.
    waiting: BTreeSet<(Date, CallId)>,
}

/// What became of a chunk.
enum Found {
    /// What was seen counts. If rows came and went meanwhile, the windows are read again.
    Read,
    /// Better read in parts.
    TooMuch,
    /// There are rows, and none of them can be read.
    Unreadable,
}

impl CallRecordsReport {
    pub(super) const NAME: &str = "call_records";
    pub(super) const API: &str = "cdr";
    pub(super) const LIMIT: RateLimit = RateLimit::per_minute(2);
}

impl CallRecords {
    pub(super) fn new(access: Access, lane: Lane, zone: TimeZone, pace: Pace, settings: ReportSettings) -> Self {
        Self {
            access,
            lane,
            zone,
            pace,
            settings,
            density: Density::default(),
            begun: false,
            hurried: 0,
            waiting: BTreeSet::new(),
        }
    }

    /// What is due, without the first windows of today while yesterday cannot be read. The first poll brings the present
    /// alone: whoever starts the program waits for it.
    fn due(&self, poll: &Poll<'_>) -> DueWindows {
        let mut due = poll.calls.windows.due(poll.now, &self.zone, READY_HOUR, &self.settings);
        let today = day_of(poll.now, &self.zone);
        let ready = poll.now >= ready_hour(&self.zone, today);
        due.rest.retain(|(day, place)| ready || *day != today || !chunk::needs_yesterday(*place));
        if !self.begun && !due.tail.is_empty() {
            due.rest.clear();
        }
        due
    }

    /// What a poll reads. Where the present and a part of the past do not fit into one, two of three polls hurry: they bring the
    /// legs of the present, without what is needed to put calls together, and more of the past at once.
    fn plan(&mut self, due: &DueWindows, room: u64) -> VecDeque<Chunk> {
        let chunks = chunk::plan(due, &self.density, room, Present::Along);
        let needed: u64 = chunks.iter().take(2).map(|chunk| self.density.pages(chunk)).sum();
        let crowded = chunks.len() > 1 && needed + self.density.spare() > room;
        self.hurried = if crowded && self.hurried < MOST_HURRIED { self.hurried + 1 } else { 0 };
        if self.hurried > 0 { chunk::plan(due, &self.density, room, Present::Hurried).into() } else { chunks.into() }
    }

    /// How far the chunk has to reach for its calls to be seen whole; none if it does.
    fn widened(&mut self, chunk: &Chunk, listed: &bulk::Listed) -> Option<Chunk> {
        let inner: Vec<_> = listed.calls().filter(|call| chunk.is_inner(&call.windows)).collect();
        for (from, to) in inner.iter().filter_map(|call| call.wait) {
            self.density.learn_wait(from, to);
        }
        let last_end = inner.iter().filter_map(|call| call.unanswered).map(|last| last.end).max();
        let back = if chunk.tail { self.density.back() } else { self.density.back_of(chunk.day, &chunk.core) };
        if chunk.hurried { None } else { chunk.widened(last_end, back) }
    }

    /// Reads one chunk; adds what it says.
    async fn read(
        &mut self,
        client: &Client,
        mut chunk: Chunk,
        now: DateTime,
        pages: &mut Pages,
        reading: &mut Reading,
    ) -> Result<Found, Failure> {
        let (mut whole, mut grown) = (true, false);
        let (mut rows, mut asked) = (BTreeMap::new(), BTreeSet::new());
        let listed = loop {
            for (day, span) in chunk.queries(now.date(), &asked) {
                let most = (asked.is_empty() && chunk.may_split()).then_some(chunk::MOST_ROWS);
                match pages.read(&self.access, client, &self.lane, day, &span, most, &mut rows).await? {
                    Seen::Whole => {}
                    Seen::Grown => grown = true,
                    Seen::Shifting => whole = false,
                    Seen::TooMany(total) => {
                        self.density.learn_total(day, &chunk.filled(), total);
                        return Ok(Found::TooMuch);
                    }
                }
                asked.extend(span.map(|place| (day, place)));
            }
            let listed = bulk::assemble(rows.values().cloned());
            // Nothing counts yet where calls have legs beyond it.
            match self.widened(&chunk, &listed) {
                Some(wider) => chunk = wider,
                None => break listed,
            }
        };
        reading.rejected += listed.rejected;
        reading.rows += listed.legs();
        if listed.legs() == 0 && listed.rejected > 0 {
            return Ok(Found::Unreadable);
        }
        // Of a call of which a leg may have slipped through nothing is said, and its windows are read again.
        let (waiting, mut unsure) = (&mut self.waiting, BTreeSet::new());
        let may_count = |id: &CallId, call: &bulk::Seen| {
            let inner = chunk.is_inner(&call.windows);
            let first_seen = grown && inner && waiting.insert((chunk.day, id.clone()));
            // An agent's leg may not be listed yet; on a past day all is.
            let undecided = call.unanswered.filter(|last| chunk.day == now.date() && last.may_go_on(now));
            // Who was handed on is looked for when his window has aged.
            if first_seen || inner && undecided.is_some_and(|last| !last.handed_on) {
                unsure.extend(call.windows.iter().copied());
            }
            whole && inner && !first_seen && undecided.is_none() && !chunk.hurried
        };
        bulk::count(&listed, may_count, reading);
        if whole {
            let legs = listed.starts().map(|start| (start.date(), start.time()));
            self.density.learn(&asked, legs);
            let windows = chunk.core.clone().map(|place| (chunk.day, place));
            reading.windows.extend(windows.filter(|window| !chunk.hurried && !unsure.contains(window)));
        }
        reading.read += 1;
        Ok(Found::Read)
    }
}

impl Report for CallRecords {
    fn poll<'a>(&'a mut self, poll: Poll<'a>) -> BoxFuture<'a, Result<Reading, Failure>> {
        Box::pin(async move {
            let (due, now) = (self.due(&poll), self.zone.to_datetime(poll.now));
            // One is left for what comes between.
            let room = self.pace.requests.saturating_sub(1).max(1);
            let closed = poll.calls.windows.closed_through;
            self.density.forget_before(closed);
            self.waiting.retain(|(day, _)| closed.is_none_or(|closed| *day > closed));
            let mut reading = Reading::default();
            let mut pages = Pages::default();
            let mut queue = self.plan(&due, room);
            let mut others = 0;
            while let Some(chunk) = queue.pop_front() {
                let needed = self.density.pages(&chunk) + self.density.spare();
                // One at least where there is hurry: a past day must not wait for ever behind a busy present.
                if !chunk.tail && (others > 0 || self.hurried == 0) && pages.sent + needed > room {
                    break;
                }
                let (tail, halves) = (chunk.tail, chunk.halves());
                match self.read(poll.client, chunk, now, &mut pages, &mut reading).await {
                    Ok(Found::Read) if tail => self.begun = true,
                    Ok(Found::Read) => others += 1,
                    // Once at most: a tail that brings nothing along is read however long it is.
                    Ok(Found::TooMuch) if tail => {
                        queue = chunk::plan(&due, &self.density, room, Present::Alone).into();
                    }
                    Ok(Found::TooMuch) => {
                        for half in halves.into_iter().rev() {
                            queue.push_front(half);
                        }
                    }
                    // Past rows do not make up for a present that cannot be read.
                    Ok(Found::Unreadable) if tail => {
                        return Ok(Reading { read: 1, rejected: reading.rejected, ..Reading::default() });
                    }
                    Ok(Found::Unreadable) => {
                        others += 1;
                        reading.failures.push(Failure::malformed("no row of the answer could be read"));
                    }
                    Err(failure) if tail => return Err(failure),
                    Err(failure) => {
                        others += 1;
                        let stop = failure.ends_account();
                        reading.failures.push(failure);
                        if stop || reading.failures.len() > MOST_FAILURES {
                            break;
                        }
                    }
                }
            }
            Ok(reading)
        })
    }
}

#[cfg(test)]
mod tests;
