//! The pages of one list. Rows come first as they begin, so while page after page is read new ones push the others on, and
//! a row comes twice; where rows are taken away, one can slip through. A list was seen whole if its total never fell while
//! as many different rows came as there were at first, or if it was read again and brought nothing new; and if nothing is
//! missing that came before.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use jiff::civil::Date;
use serde_json::{Map, Value};

use super::super::Api;
use super::super::api::{Access, Envelope, open, rows};
use super::chunk::PAGE;
use crate::client::{Answer, Client, Lane, Request};
use crate::failure::Failure;
use crate::ledger::windows::{PER_DAY, window_start};
use crate::vendors::parse::{self, Text};

/// How often a list is read before it is left for the next poll.
const PASSES: u64 = 3;

/// No list is longer: a day of an account as large as the vendor's limits let through has a fifth of that.
const MOST_PAGES: usize = 200;

/// What the pages of a poll have cost so far.
#[derive(Debug, Default)]
pub(super) struct Pages {
    pub(super) sent: u64,
}

/// How much of a list was seen.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Seen {
    Whole,
    /// All that there was at first; of a call that came meanwhile perhaps only some of its legs.
    Grown,
    /// Something may have slipped through.
    Shifting,
    /// The first page says that there are so many rows, and nothing was kept.
    TooMany(u64),
}

/// Rows by what tells them apart; of a row that comes again the later one stands.
pub(super) type Rows = BTreeMap<String, Value>;

/// One page, read.
struct Page {
    rows: Vec<Value>,
    total: Option<u64>,
}

impl Pages {
    /// Reads windows of a day into `rows`; gives up at once if there are more than `most`.
    #[expect(clippy::too_many_arguments, reason = "the way out is three of them")]
    pub(super) async fn read(
        &mut self,
        access: &Access,
        client: &Client,
        lane: &Lane,
        day: Date,
        span: &Range<u8>,
        most: Option<u64>,
        rows: &mut Rows,
    ) -> Result<Seen, Failure> {
        let mut seen = BTreeSet::new();
        for pass in 0..PASSES {
            let known = seen.len();
            let mut this_pass = BTreeSet::new();
            let (mut first, mut last, mut twice, mut size) = (None, None, false, PAGE);
            for number in 1.. {
                if number > MOST_PAGES {
                    return Err(Failure::malformed("the list of records does not end"));
                }
                self.sent += 1;
                let request = request(access, day, span, number)?;
                let Page { rows: page, total } = access.ask(client, lane, Api::V2, &request, Page::decode).await?;
                let (before, came) = (this_pass.len(), page.len() as u64);
                if number == 1 {
                    if let (Some(total), Some(most)) = (total, most)
                        && total > most
                    {
                        return Ok(Seen::TooMany(total));
                    }
                    (first, last) = (total, total);
                    // A vendor may have smaller pages than it was asked for.
                    size = total.filter(|total| came < *total).map_or(PAGE, |_| came);
                }
                // Fewer rows than before: some have left, and others slipped into their places.
                twice |= total < last;
                last = total;
                for row in page {
                    let identity = identity(&row);
                    twice |= !this_pass.insert(identity.clone()) && total.is_none();
                    rows.insert(identity, row);
                }
                let done = total.map_or(came < PAGE, |total| number as u64 * size >= total);
                if done && number == 1 && pass == 0 {
                    // One answer: nothing could move.
                    return Ok(Seen::Whole);
                }
                if done || came == 0 || this_pass.len() == before {
                    break;
                }
            }
            // A vendor that takes the day away for the night leaves a list that agrees with itself.
            let gone = !seen.is_subset(&this_pass);
            let all = !twice && !gone && first.is_none_or(|total| this_pass.len() as u64 >= total);
            seen.append(&mut this_pass);
            if pass > 0 && !gone && seen.len() == known || all && first == last {
                return Ok(Seen::Whole);
            }
            if all {
                return Ok(Seen::Grown);
            }
        }
        Ok(Seen::Shifting)
    }
}

impl Page {
    fn decode(answer: &Answer) -> Result<Self, Failure> {
        let Envelope::Success(mut envelope) = open(answer)? else {
            return Ok(Self { rows: Vec::new(), total: Some(0) });
        };
        let total = envelope.remove("totalCount").and_then(|total| serde_json::from_value::<Text>(total).ok());
        let total = total.and_then(|total| parse::count(total.as_str()).value()?.as_whole());
        Ok(Self { rows: rows(&mut envelope)?, total })
    }
}

fn request(access: &Access, day: Date, span: &Range<u8>, number: usize) -> Result<Request, Failure> {
    let from = day.to_datetime(window_start(span.start));
    let last = if span.end < PER_DAY {
        day.to_datetime(window_start(span.end)).saturating_sub(jiff::Span::new().seconds(1))
    } else {
        day.at(23, 59, 59, 0)
    };
    let stamp = |at: jiff::civil::DateTime| at.strftime("%Y-%m-%d %H:%M:%S").to_string();
    let mut request =
        access.v2("/ca_reports/fetchCdrByPagination", &[("fromDate", &stamp(from)), ("toDate", &stamp(last))])?;
    let (number, size) = (number.to_string(), PAGE.to_string());
    request.url.query_pairs_mut().append_pair("pageNo", &number).append_pair("pageSize", &size);
    Ok(request)
}

/// What stays the same of a row when it comes again.
fn identity(row: &Value) -> String {
    let Value::Object(row) = row else { return row.to_string() };
    let text = |row: &Map<String, Value>, key: &str| match row.get(key) {
        Some(Value::String(text)) => text.trim().to_owned(),
        Some(value) => value.to_string(),
        None => String::new(),
    };
    ["CallID", "UCID", "AgentID", "CallDate", "StartTime"].map(|key| text(row, key)).join("|")
}
