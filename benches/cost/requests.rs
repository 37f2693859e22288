//! Polls of a thousand Huawei agents, beside wrk with as many connections against the same simulator. A poll's rate is the
//! agents over the poll's whole duration: reading the GUIDs, decoding and storing are part of it.

use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use contact_center_exporter::simulator::Vendor;

use crate::processes::{exporter, first_scrape, free_address, quietly, sample};
use crate::simulators::{HUAWEI_AGENTS, Site};
use crate::{Row, median};

/// Requests under way, and connections of wrk.
const CONCURRENCY: usize = 32;
/// Rounds; each runs both sides once.
const ROUNDS: usize = 7;
/// Polls that count in each round, after a first one that opens the connections.
const POLLS: usize = 4;
/// A round of wrk lasts about as long.
const WRK_TIME: &str = "4s";
/// The page is looked at so often.
const LOOK: Duration = Duration::from_millis(50);
const LABELS: &str = r#"{vendor="huawei",account="aicc-br",report="agent_call_statistics"}"#;

pub(crate) fn measure() -> anyhow::Result<Row> {
    let (_simulators, site) = Site::start()?;
    let folder = tempfile::tempdir()?;
    site.huawei_alone(folder.path(), CONCURRENCY)?;
    let script = folder.path().join("agents.lua");
    std::fs::write(&script, lua(&site)?)?;
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for round in 1..=ROUNDS {
        let mut rates = polls(folder.path())?;
        let wrk = wrk(site.url(Vendor::Huawei), &script)?;
        println!("requests {round}: polls {:6.0}/s, wrk {wrk:6.0}/s", median(&mut rates));
        ours.extend(rates);
        theirs.push(wrk);
    }
    let (ours, theirs) = (median(&mut ours), median(&mut theirs));
    Ok(Row {
        what: "requests per second, 1000 agents, 32 at once",
        ours: format!("{ours:.0}/s"),
        theirs: format!("wrk {theirs:.0}/s"),
        verdict: format!("ratio {:.2}, at least 0.5", ours / theirs),
        met: ours >= 0.5 * theirs,
    })
}

/// Runs the exporter for some polls, and says how many requests per second each made.
fn polls(folder: &Path) -> anyhow::Result<Vec<f64>> {
    // The page would begin with the last success of the round before.
    let _ = std::fs::remove_dir_all(folder.join("state"));
    let address = free_address()?;
    let config = format!("--config.file={}", folder.join("exporter.yml").display());
    let _child = quietly(exporter().arg(config).arg(format!("--web.listen-address={address}")))?;
    let mut durations = Vec::new();
    let mut last = 0.0;
    let mut looks = 0;
    while durations.len() <= POLLS {
        let page = first_scrape(address)?;
        let family = |name: &str| sample(&page, &format!("contact_center_{name}{LABELS}"));
        if let Some(success) = family("last_success_timestamp_seconds").filter(|success| *success > last) {
            last = success;
            let [up, requests, polls] =
                [family("up"), sample(&page, "contact_center_api_requests_total{"), family("polls_total")];
            let sent = requests.context("no requests on the page")?;
            #[expect(clippy::cast_precision_loss, reason = "a few thousand")]
            let whole = sent >= HUAWEI_AGENTS as f64 * (polls.context("no polls on the page")? - 1.0);
            ensure!(up == Some(1.0) && whole, "a poll did not ask for every agent");
            durations.push(family("last_poll_duration_seconds").context("no duration on the page")?);
        }
        looks += 1;
        ensure!(looks < 2000, "the exporter does not poll");
        thread::sleep(LOOK);
    }
    #[expect(clippy::cast_precision_loss, reason = "a thousand")]
    Ok(durations.iter().skip(1).map(|seconds| HUAWEI_AGENTS as f64 / seconds).collect())
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
