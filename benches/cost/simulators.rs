//! The simulated vendors in a process of their own, and what the other side has to know of them.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

use anyhow::Context as _;
use contact_center_exporter::clock::Clock;
use contact_center_exporter::simulator::{Options, Simulator, Vendor};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::processes::{Guard, write_all};

/// Agents of Huawei; the others have ten.
pub(crate) const HUAWEI_AGENTS: usize = 1000;

/// What the process prints once it serves.
#[derive(Serialize, Deserialize)]
pub(crate) struct Site {
    /// In the order of `Vendor::ALL`.
    pub(crate) urls: [String; Vendor::COUNT],
    pub(crate) user_name: String,
    pub(crate) api_key: String,
    pub(crate) token: String,
    /// JSON: `{"101":"<guid>"}`.
    pub(crate) guids: String,
    pub(crate) voximplant_key: String,
}

/// The simulators' process.
pub(crate) struct Simulators {
    asks: ChildStdin,
    answers: BufReader<ChildStdout>,
    _child: Guard,
}

/// Requests that came close upon each other: how many, and within how many seconds.
pub(crate) type Burst = (usize, f64);

/// A pause that parts two bursts.
const PAUSE: Duration = Duration::from_millis(300);

/// Serves until its standard input ends; each line of it is answered, `peaks` with the most requests that each vendor has seen
/// under way at once, any other with the bursts that Huawei has seen of late.
pub(crate) fn serve(load: &[String]) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(async {
        let mut options = Options { huawei_agents: Some(HUAWEI_AGENTS), limits: None, ..Options::new(Clock::system()) };
        let [load, latency] = [0, 1].map(|place| load.get(place).map(String::as_str));
        if let Some(milliseconds) = latency {
            options.latency = Duration::from_millis(milliseconds.parse()?);
        }
        match load {
            Some("huawei") => crate::huawei::load(&mut options),
            Some("voximplant") => crate::voximplant::load(&mut options),
            _ => {}
        }
        let simulator = Simulator::start(options).await?;
        let credentials = simulator.credentials();
        let site = Site {
            urls: Vendor::ALL.map(|vendor| simulator.url(vendor)),
            user_name: credentials.ozonetel_user_name,
            api_key: credentials.ozonetel_api_key,
            token: credentials.wolkvox_token,
            guids: credentials.huawei_guids,
            voximplant_key: credentials.voximplant_key,
        };
        println!("{}", serde_json::to_string(&site)?);
        let answers = tokio::task::spawn_blocking(move || {
            for line in std::io::stdin().lines() {
                let answer = match line?.as_str() {
                    "peaks" => serde_json::to_string(&Vendor::ALL.map(|vendor| simulator.log(vendor).peak_in_flight))?,
                    _ => serde_json::to_string(&bursts(&simulator))?,
                };
                println!("{answer}");
            }
            anyhow::Ok(())
        });
        answers.await?
    })
}

fn bursts(simulator: &Simulator) -> Vec<Burst> {
    let entries = simulator.log(Vendor::Huawei).entries;
    let bursts = entries.chunk_by(|a, b| b.at.saturating_sub(a.at) < PAUSE);
    bursts
        .filter_map(|burst| Some((burst.len(), burst.last()?.at.saturating_sub(burst.first()?.at).as_secs_f64())))
        .collect()
}

impl Simulators {
    /// Starts the process.
    pub(crate) fn start() -> anyhow::Result<(Self, Site)> {
        Self::under("", Duration::ZERO)
    }

    /// Starts the process with as much to tell as one vendor's requirement says.
    pub(crate) fn under(load: &str, latency: Duration) -> anyhow::Result<(Self, Site)> {
        let latency = latency.as_millis().to_string();
        let mut command = Command::new(std::env::current_exe()?);
        let mut child =
            Guard(command.args(["simulators", load, &latency]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?);
        let asks = child.0.stdin.take().context("the simulators have no input")?;
        let answers = BufReader::new(child.0.stdout.take().context("the simulators have no output")?);
        let mut simulators = Self { asks, answers, _child: child };
        let site = simulators.read()?;
        Ok((simulators, site))
    }

    /// The bursts of the latest ten thousand requests.
    pub(crate) fn bursts(&mut self) -> anyhow::Result<Vec<Burst>> {
        self.asks.write_all(b"bursts\n")?;
        self.read()
    }

    /// The most requests that each vendor has seen under way at once.
    pub(crate) fn peaks(&mut self) -> anyhow::Result<[usize; 4]> {
        self.asks.write_all(b"peaks\n")?;
        self.read()
    }

    fn read<T: DeserializeOwned>(&mut self) -> anyhow::Result<T> {
        let mut line = String::new();
        self.answers.read_line(&mut line)?;
        serde_json::from_str(&line).context("reading what the simulators say")
    }
}

impl Site {
    /// An exporter.yml with an account of each vendor.
    pub(crate) fn four_vendors(&self, folder: &Path) -> anyhow::Result<()> {
        let [ozonetel, wolkvox, huawei, voximplant] =
            [Vendor::Ozonetel, Vendor::Wolkvox, Vendor::Huawei, Vendor::Voximplant].map(|vendor| self.url(vendor));
        let yml = format!(
            "state: {{ path: state }}
vendors:
  ozonetel:
    - account: support-in
      base_url: {ozonetel}
      user_name: {}
      api_key_file: api_key
      reports:
        average_handling_time: {{ agents: [asha, ravi], campaigns: [sales] }}
        call_details: {{ ucid_file: ucids.txt }}
  wolkvox:
    - account: ventas-co
      base_url: {wolkvox}
      token_file: token
      reports: {{ agent_hold_mute: {{}} }}
  huawei:
    - account: aicc-br
      base_url: {huawei}
      guids: {{ file: guids.json }}
      reports: {{ agent_call_statistics: {{}} }}
  voximplant:
    - account: shop-eu
      base_url: {voximplant}
      credentials_file: credentials.json
      reports: {{ operator_statistics: {{}} }}
",
            self.user_name
        );
        let files = [
            ("exporter.yml", yml.as_str()),
            ("api_key", &self.api_key),
            ("token", &self.token),
            ("guids.json", &self.guids),
            ("credentials.json", &self.voximplant_key),
            ("ucids.txt", ""),
        ];
        write_all(folder, &files)
    }

    /// An exporter.yml with Huawei alone.
    pub(crate) fn huawei_alone(&self, folder: &Path, interval: &str, concurrency: usize) -> anyhow::Result<()> {
        let yml = format!(
            "state: {{ path: state }}
vendors:
  huawei:
    - account: aicc-br
      base_url: {}
      guids: {{ file: guids.json }}
      reports: {{ agent_call_statistics: {{ interval: {interval}, concurrency: {concurrency} }} }}
",
            self.url(Vendor::Huawei)
        );
        write_all(folder, &[("exporter.yml", &yml), ("guids.json", &self.guids)])
    }

    pub(crate) fn url(&self, vendor: Vendor) -> &str {
        &self.urls[vendor as usize]
    }
}
