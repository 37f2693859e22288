//! How large the state is after a month, a quarter and a year of a hundred agents on all four vendors' kinds of buckets: days
//! that settle, sign-ins, and calls that are done.

use contact_center_exporter::amount::Amount;
use contact_center_exporter::catalogue::Family;
use contact_center_exporter::ledger::calendar::Due;
use contact_center_exporter::ledger::redb::RedbStore;
use contact_center_exporter::ledger::{Book, Ledger};
use contact_center_exporter::reading::{Bucket, CallId, CallUpdate, Entity, Reading};
use contact_center_exporter::settings::AgentLabel;
use contact_center_exporter::vendors::Calendar;
use jiff::civil::{Date, date};
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan as _};

use crate::Row;
use crate::ledger::{mega, settings};

const AGENTS: u64 = 100;
const CAMPAIGNS: u64 = 10;
/// Calls of each agent in a day.
const CALLS: u64 = 10;
/// When a day is polled, by UTC hour.
const HOURS: [i64; 3] = [8, 14, 20];
const DAYS: [i64; 3] = [30, 90, 365];
const START: Date = date(2026, 1, 1);

struct Office {
    days: Book,
    sessions: Book,
    calls: Book,
    agents: Vec<Entity>,
    campaigns: Vec<Entity>,
}

pub(crate) fn measure() -> anyhow::Result<Row> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("state");
    let mut office = Office::open(&Ledger::open(Box::new(RedbStore::open(&path)?), "bench")?)?;
    let mut sizes = Vec::new();
    for day in 1..=DAYS[2] {
        let date = START.checked_add((day - 1).days())?;
        for hour in HOURS {
            office.poll(date, date.to_zoned(TimeZone::UTC)?.timestamp() + hour.hours())?;
        }
        if DAYS.contains(&day) {
            let size = std::fs::metadata(path.join("state.redb"))?.len();
            println!("year: {:.2} MB after {day} days", mega(size));
            sizes.push(size);
        }
    }
    let (quarter, year) = (mega(sizes[1]), mega(sizes[2]));
    Ok(Row {
        what: "state on disk after a year, 100 agents",
        ours: format!("{year:.2} MB"),
        theirs: format!("after 90 days {quarter:.2} MB"),
        verdict: "no more".to_owned(),
        met: year <= quarter,
    })
}

impl Office {
    fn open(ledger: &Ledger) -> anyhow::Result<Self> {
        let book = |vendor, name| ledger.book(vendor, "acme", name, ledger.names(AgentLabel::Plain, None));
        let entities = |count, name: fn(String) -> Entity, what| -> Vec<Entity> {
            (0..count).map(|number| name(format!("{what}-{number:03}"))).collect()
        };
        Ok(Self {
            days: book("wolkvox", "agent_hold_mute")?,
            sessions: book("huawei", "agent_call_statistics")?,
            calls: book("ozonetel", "calls")?,
            agents: entities(AGENTS, |key| Entity::Agent(key.into()), "agent"),
            campaigns: entities(CAMPAIGNS, |key| Entity::Campaign(key.into()), "campaign"),
        })
    }

    fn poll(&mut self, today: Date, now: Timestamp) -> anyhow::Result<()> {
        let done = now.as_second().rem_euclid(86_400).unsigned_abs() / 60;
        let settings = settings();

        let calendar = Calendar::Days { zone: TimeZone::UTC };
        let due = self.days.due(now, &calendar, &settings);
        let mut reading = Reading { days: due.days.clone(), ..Reading::default() };
        for day in &due.days {
            let figure = if *day == today { done } else { 1440 };
            for (agent, extra) in self.agents.iter().zip(0..) {
                for family in [Family::AgentHold, Family::AgentMute, Family::AgentHoldMute, Family::AgentHoldMuteEvents]
                {
                    reading.figure(family, agent, &Bucket::Day(*day), Amount::whole(figure + extra));
                }
            }
        }
        self.days.apply(&reading, now, &calendar, &settings, &due)?;

        let mut reading = Reading::default();
        for (agent, extra) in self.agents.iter().zip(0..) {
            for family in [Family::AgentTalk, Family::AgentAnsweredCalls, Family::AgentOutbound] {
                reading.figure(family, agent, &Bucket::Session, Amount::whole(done * 20 + extra));
            }
        }
        self.sessions.apply(&reading, now, &Calendar::Present, &settings, &Due::default())?;

        let mut reading = Reading::default();
        let calls = AGENTS * CALLS / HOURS.len() as u64;
        for call in 0..calls {
            let id = CallId::new(format!("{}{call:06}", now.as_second()));
            let bucket = Bucket::Call { day: today, id: id.clone() };
            let agent = &self.agents[usize::try_from(call % AGENTS)?];
            for family in [Family::AgentTalk, Family::AgentHold, Family::AgentAfterCallWork, Family::AgentAnsweredCalls]
            {
                reading.figure(family, agent, &bucket, Amount::whole(1 + call));
            }
            let campaign = &self.campaigns[usize::try_from(call % CAMPAIGNS)?];
            reading.figure(Family::CampaignAnswered, campaign, &bucket, Amount::ONE);
            reading.observe(Family::CampaignTalkTime, campaign, &bucket, Amount::whole(call));
            reading.calls.push(CallUpdate::Done(id));
        }
        let calendar = Calendar::Calls { zone: TimeZone::UTC };
        self.calls.apply(&reading, now, &calendar, &settings, &Due::default())?;
        Ok(())
    }
}
