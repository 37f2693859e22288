//! Polls of a thousand Huawei agents, beside wrk with as many connections against the same simulator. The rate of requests
//! is what the simulator sees from the first of a poll to the last, decoding included. What a poll does beside asking,
//! which is to read the GUIDs and to store the figures on disk, wrk has no counterpart for: the rate over the poll's
//! whole duration is shown for itself.

use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use contact_center_exporter::simulator::Vendor;

use crate::processes::{exporter, first_scrape, free_address, quietly, sample};
use crate::simulators::{HUAWEI_AGENTS, Simulators, Site};
use crate::{Row, median};

/// Requests under way, and connections of wrk.
const CONCURRENCY: usize = 32;
/// Rounds; each runs both sides once.
const ROUNDS: usize = 7;
/// Polls that count in each round, after a first one that opens the connections.
const POLLS: usize = 5;
/// A round of wrk lasts about as long.
const WRK_TIME: &str = "4s";
/// The page is looked at so often.
const LOOK: Duration = Duration::from_millis(50);
const MOST_LOOKS: u32 = 1000;
/// The agents, as a number to divide.
const AGENTS: f64 = 1000.0;
const LABELS: &str = r#"{vendor="huawei",account="aicc-br",report="agent_call_statistics"}"#;

pub(crate) fn measure() -> anyhow::Result<Vec<Row>> {
    let (mut simulators, site) = Simulators::start()?;
    let folder = tempfile::tempdir()?;
    site.huawei_alone(folder.path(), "1s", CONCURRENCY)?;
    let script = folder.path().join("agents.lua");
    std::fs::write(&script, lua(&site)?)?;
    let (mut asking, mut whole, mut theirs) = (Vec::new(), Vec::new(), Vec::new());
    for round in 1..=ROUNDS {
        let wrk = wrk(site.url(Vendor::Huawei), &script)?;
        let mut polls = polls(folder.path())?;
        // The first poll opens the connections; wrk's own rounds are one long burst.
        let bursts: Vec<_> = simulators.bursts()?;
        let latest = bursts.get(bursts.len().saturating_sub(POLLS)..).unwrap_or_default();
        ensure!(latest.iter().all(|(count, _)| *count == HUAWEI_AGENTS), "not every agent was asked once: {latest:?}");
        let mut rates: Vec<_> = latest.iter().map(|(_, seconds)| AGENTS / seconds).collect();
        println!(
            "requests {round}: asking {:6.0}/s, whole polls {:6.0}/s, wrk {wrk:6.0}/s",
            median(&mut rates),
            median(&mut polls)
        );
        asking.extend(rates);
        whole.extend(polls);
        theirs.push(wrk);
    }
    let theirs = median(&mut theirs);
    let row = |what, rates: &mut [f64], least: Option<f64>| {
        let ours = median(rates);
        Row {
            what,
            ours: format!("{ours:.0}/s"),
            theirs: format!("wrk {theirs:.0}/s"),
            verdict: match least {
                Some(least) => format!("ratio {:.2}, at least {least}", ours / theirs),
                None => format!("ratio {:.2}, for itself", ours / theirs),
            },
            met: least.is_none_or(|least| ours >= least * theirs),
        }
    };
    Ok(vec![
        row("requests per second, 1000 agents, 32 at once", &mut asking, Some(0.5)),
        row("the same with GUIDs and storing", &mut whole, None),
    ])
}

/// Runs the exporter for some polls, and says how many agents per second each did.
fn polls(folder: &Path) -> anyhow::Result<Vec<f64>> {
    // The page would begin with the last success of the round before.
    let _ = std::fs::remove_dir_all(folder.join("state"));
    let address = free_address()?;
    let config = format!("--config.file={}", folder.join("exporter.yml").display());
    let _child = quietly(exporter().arg(config).arg(format!("--web.listen-address={address}")))?;
    let (mut durations, mut last) = (Vec::new(), 0.0);
    for _ in 0..MOST_LOOKS {
        let page = first_scrape(address)?;
        let family = |name: &str| sample(&page, &format!("contact_center_{name}{LABELS}"));
        if let Some(success) = family("last_success_timestamp_seconds").filter(|success| *success > last) {
            last = success;
            ensure!(family("up") == Some(1.0), "a poll failed");
            durations.push(family("last_poll_duration_seconds").context("no duration on the page")?);
        }
        if durations.len() > POLLS {
            return Ok(durations.iter().skip(1).map(|seconds| AGENTS / seconds).collect());
        }
        thread::sleep(LOOK);
    }
    bail!("the exporter does not poll")
}

/// Asks for all agents in turn, each with his own GUID, with requests that are written beforehand.
fn lua(site: &Site) -> anyhow::Result<String> {
    let guids: std::collections::BTreeMap<u32, String> = serde_json::from_str(&site.guids)?;
    let agents: Vec<_> = guids.iter().map(|(agent, guid)| format!("{{\"{agent}\",\"{guid}\"}}")).collect();
    Ok(format!(
        "local agents = {{{}}}
local requests, turn = {{}}, 0
init = function()
  for i, agent in ipairs(agents) do
    local path = \"/agentgateway/resource/calldata/\" .. agent[1] .. \"/statisticsEx\"
    requests[i] = wrk.format(\"GET\", path, {{[\"Content-Type\"] = \"application/json; charset=UTF-8\", [\"Guid\"] = agent[2]}})
  end
end
request = function()
  turn = turn % #requests + 1
  return requests[turn]
end
",
        agents.join(",")
    ))
}

fn wrk(url: &str, script: &Path) -> anyhow::Result<f64> {
    let connections = CONCURRENCY.to_string();
    let output = Command::new("wrk")
        .args(["-t", "2", "-c", &connections, "-d", WRK_TIME, "-s"])
        .arg(script)
        .arg(url)
        .output()
        .context("starting wrk")?;
    let said = String::from_utf8_lossy(&output.stdout);
    ensure!(!said.contains("Non-2xx") && !said.contains("Socket errors"), "wrk was refused:\n{said}");
    let rate = said.lines().find_map(|line| line.strip_prefix("Requests/sec:"));
    rate.and_then(|rate| rate.trim().parse().ok()).with_context(|| format!("no rate in:\n{said}"))
}
