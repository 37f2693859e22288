//! `directory`: the names of operators and queues, from GetUsers and GetQueues. Both come in pages, of as many rows as the
//! vendor likes. Nothing but names is read: rows hold e-mail addresses and balances too.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::future::BoxFuture;
use jiff::Timestamp;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;

use super::errors;
use super::method::Method;
use crate::catalogue::Family;
use crate::client::{Answer, Client};
use crate::failure::Failure;
use crate::reading::{Entity, Gauge, Reading};
use crate::vendors::parse::Text;
use crate::vendors::{Poll, Report};

/// The report's name.
pub const REPORT: &str = "directory";
/// The method that lists operators, and its name on the metrics.
pub const USERS: &str = "GetUsers";
/// The method that lists queues, and its name on the metrics.
pub const QUEUES: &str = "GetQueues";

/// Rows that a page is asked for: an account has a thousand users at most.
const PAGE: u64 = 1000;
/// More pages than this are no list.
const MOST_PAGES: u32 = 1000;

/// The report.
#[derive(Debug)]
pub struct Directory {
    /// GetUsers.
    pub users: Method,
    /// GetQueues.
    pub queues: Method,
    /// `application_name`
    pub application: Option<String>,
    /// Who was named last: a list that fails must not take names off the page.
    pub named: [BTreeSet<Entity>; 2],
}

/// A row of a list.
pub trait Listed: DeserializeOwned {
    /// Id, and name if it has one.
    fn named(self) -> (Text, Option<String>);
}

#[derive(Deserialize)]
struct UserRow {
    #[serde(rename = "user_id")]
    id: Text,
    #[serde(rename = "user_display_name")]
    shown: Option<String>,
    #[serde(rename = "user_name")]
    login: Option<String>,
}

/// A queue.
#[derive(Deserialize)]
pub struct QueueRow {
    acd_queue_id: Text,
    acd_queue_name: Option<String>,
}

/// A whole list.
#[derive(Debug, Default)]
pub struct Listing {
    /// Names by id.
    pub names: BTreeMap<String, Option<String>>,
    /// Rows that could not be read.
    pub rejected: u64,
    /// Whether it holds as many rows as the vendor said that there are.
    pub complete: bool,
}

/// One page: readable rows by id, how many were not, and how many rows there are in all.
type Page = (Vec<(String, Option<String>)>, u64, Option<u64>);

// === impl Directory ===

impl Directory {
    fn note(
        &mut self,
        reading: &mut Reading,
        list: Result<Listing, Failure>,
        place: usize,
        show: fn(&str, &str) -> Option<Gauge>,
    ) {
        let listing = match list {
            Ok(listing) => listing,
            Err(failure) => return reading.failures.push(failure),
        };
        let gauges = listing.names.iter().filter_map(|(id, name)| show(id, name.as_deref()?));
        let gauges: Vec<_> = gauges.collect();
        if listing.complete {
            self.named[place].clear();
        }
        self.named[place].extend(gauges.iter().map(|gauge| gauge.entity.clone()));
        reading.gauges.extend(gauges);
        reading.read += 1;
        reading.rows += listing.names.len() as u64;
        reading.rejected += listing.rejected;
    }
}

impl Report for Directory {
    fn poll<'a>(&'a mut self, poll: Poll<'a>) -> BoxFuture<'a, Result<Reading, Failure>> {
        Box::pin(async move {
            let mut reading = Reading::default();
            let application = self.application.as_deref();
            let users = list::<UserRow>(&self.users, poll.client, poll.now, application).await;
            let go_on = !users.as_ref().is_err_and(Failure::ends_poll);
            self.note(&mut reading, users, 0, operator);
            if go_on {
                let queues = list::<QueueRow>(&self.queues, poll.client, poll.now, self.application.as_deref()).await;
                self.note(&mut reading, queues, 1, queue);
            }
            reading.roster = Some(self.named.iter().flatten().cloned().collect());
            Ok(reading)
        })
    }
}

fn operator(id: &str, name: &str) -> Option<Gauge> {
    let labels = vec![("agent_name", name.to_owned()), ("agent_id", id.to_owned())];
    Some(Gauge { family: Family::AgentInfo, entity: Entity::agent(id)?, labels, value: 1.0 })
}

fn queue(id: &str, name: &str) -> Option<Gauge> {
    let labels = vec![("queue_name", name.to_owned())];
    Some(Gauge { family: Family::QueueInfo, entity: Entity::queue(id)?, labels, value: 1.0 })
}

/// Reads a list to its end.
pub async fn list<R: Listed>(
    method: &Method,
    client: &Client,
    now: Timestamp,
    application: Option<&str>,
) -> Result<Listing, Failure> {
    let token = method.token(now)?;
    let mut listing = Listing::default();
    let mut offset = 0_u64;
    for _ in 0..MOST_PAGES {
        let (count, from) = (PAGE.to_string(), offset.to_string());
        let mut form = vec![("count", count.as_str()), ("offset", from.as_str())];
        form.extend(application.map(|name| ("application_name", name)));
        let request = method.request(&token, &form)?;
        let (rows, rejected, total) = client.ask(&method.lane, &request, decode::<R>).await?;
        let rows_here = rows.len() as u64 + rejected;
        // A vendor may give fewer rows than it was asked for.
        offset += rows_here;
        listing.rejected += rejected;
        let known = listing.names.len();
        listing.names.extend(rows);
        let ended = total.map_or(rows_here < PAGE, |total| offset >= total);
        // The same page over and over would never end.
        if ended || listing.names.len() == known {
            let rows = listing.names.len() as u64 + listing.rejected;
            listing.complete = total.is_none_or(|total| rows >= total);
            return Ok(listing);
        }
    }
    Err(Failure::malformed("the vendor's list has no end"))
}

/// Reads one page.
fn decode<R: Listed>(answer: &Answer) -> Result<Page, Failure> {
    let (result, total) = errors::page(answer)?;
    let rows: Vec<&RawValue> =
        serde_json::from_str(result.get()).map_err(|_| Failure::malformed("the answer holds no list"))?;
    let all = rows.len() as u64;
    let named = rows.into_iter().filter_map(|raw| {
        let (id, name) = serde_json::from_str::<R>(raw.get()).ok()?.named();
        let name = name.map(|name| name.trim().to_owned()).filter(|name| !name.is_empty());
        Some((crate::reading::clean_key(id.as_str())?.to_string(), name))
    });
    let named: Vec<_> = named.collect();
    let rejected = all - named.len() as u64;
    Ok((named, rejected, total))
}

// === impl Listed ===

impl Listed for UserRow {
    fn named(self) -> (Text, Option<String>) {
        let shown = self.shown.filter(|name| !name.trim().is_empty());
        (self.id, shown.or(self.login))
    }
}

impl Listed for QueueRow {
    fn named(self) -> (Text, Option<String>) {
        (self.acd_queue_id, self.acd_queue_name)
    }
}
