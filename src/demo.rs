//! `demo`: the whole program against simulated vendors on loopback. The accounts are an ordinary exporter.yml in a
//! temporary folder, read by the ordinary code; nothing but the vendors' addresses is special.

use std::fmt::Write as _;
use std::fs::Permissions;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use jiff::{SignedDuration, Timestamp};
use tempfile::TempDir;
use tokio_util::task::AbortOnDropHandle;

use crate::clock::Clock;
use crate::config::{self, Loaded};
use crate::simulator::truth::Truth;
use crate::simulator::{Options, Simulator, Vendor};

/// Calls that ended this long before the start are listed at once, so that the page has something to show.
const HISTORY: SignedDuration = SignedDuration::from_mins(40);
/// A dialler's own list of its calls would be cut, too.
const KEPT_LINES: usize = 5000;
/// How often the list of calls is written anew.
const DIALLER_PERIOD: Duration = Duration::from_secs(1);
/// With `--chaos`, this share of the requests fails.
const CHAOS: f64 = 0.1;

/// Simulated vendors, and a configuration that names them.
pub struct Stage {
    loaded: Loaded,
    clock: Clock,
    _simulator: std::sync::Arc<Simulator>,
    _dialler: AbortOnDropHandle<()>,
    /// Removed with the stage.
    _folder: TempDir,
}

impl Stage {
    /// Starts the vendors and writes the configuration. The simulated day runs `speed` times as fast as the real one.
    pub async fn new(speed: f64, chaos: bool) -> anyhow::Result<Self> {
        let now = Clock::system().now();
        let clock = if (speed - 1.0).abs() < f64::EPSILON { Clock::system() } else { Clock::scaled(now, speed) };
        let options = Options {
            agents: 12,
            limits: None,
            chaos: if chaos { CHAOS } else { 0.0 },
            // A demo polls faster than anybody should.
            wolkvox_licences: 1000,
            ..Options::new(clock.clone())
        };
        let simulator = std::sync::Arc::new(Simulator::start(options).await.context("simulators on loopback")?);
        let folder = tempfile::Builder::new().prefix("contact-center-demo-").tempdir().context("temporary folder")?;
        configure(&simulator, folder.path())?;
        let loaded = config::load(&folder.path().join("exporter.yml")).context("configuration of the demo")?;
        let dialler = dial(std::sync::Arc::clone(&simulator), clock.clone(), folder.path().join("ucids.txt"));
        Ok(Self {
            loaded,
            clock,
            _simulator: simulator,
            _dialler: AbortOnDropHandle::new(tokio::spawn(dialler)),
            _folder: folder,
        })
    }

    /// The configuration.
    pub const fn loaded(&self) -> &Loaded {
        &self.loaded
    }

    /// Simulated wall time.
    pub fn clock(&self) -> Clock {
        self.clock.clone()
    }

    /// What to tell whoever started it.
    pub fn greeting(&self, address: SocketAddr, tls: bool, telemetry_path: &str) -> String {
        let scheme = if tls { "https" } else { "http" };
        let port = address.port();
        let ip = address.ip();
        let host = if ip.is_unspecified() || ip.is_loopback() { "localhost".to_owned() } else { ip.to_string() };
        format!(
            "contact-center-exporter demo: four simulated vendors, nothing leaves this machine\n\n  \
             metrics  {scheme}://{host}:{port}{telemetry_path}\n  \
             reports  {scheme}://{host}:{port}/\n\nCtrl-C ends it; its state goes with it.\n"
        )
    }
}

impl std::fmt::Debug for Stage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Stage")
    }
}

/// Writes into `folder` the exporter.yml that polls `simulator`, and the files that it names.
pub fn configure(simulator: &Simulator, folder: &Path) -> anyhow::Result<()> {
    let write = |name: &str, text: &str| {
        let path = folder.join(name);
        // As the operator's would be: they hold secrets, if simulated ones.
        let write = || {
            std::fs::write(&path, text).and_then(|()| std::fs::set_permissions(&path, Permissions::from_mode(0o600)))
        };
        write().with_context(|| format!("writing {}", path.display()))
    };
    let credentials = simulator.credentials();
    write("api_key", &credentials.ozonetel_api_key)?;
    write("token", &credentials.wolkvox_token)?;
    write("guids.json", &credentials.huawei_guids)?;
    write("credentials.json", &credentials.voximplant_key)?;
    write("ucids.txt", "")?;
    write("exporter.yml", &exporter_yml(simulator, &credentials.ozonetel_user_name))
}

/// Lists the calls that have ended, as the operator's dialler would.
async fn dial(simulator: std::sync::Arc<Simulator>, clock: Clock, path: PathBuf) {
    let mut from = clock.now() - HISTORY;
    let mut lines: Vec<String> = Vec::new();
    loop {
        let to = clock.now();
        lines.extend(simulator.ozonetel_ucids(from, to).into_iter().map(|(id, day)| format!("{id},{day}")));
        lines.drain(..lines.len().saturating_sub(KEPT_LINES));
        from = Timestamp::max(from, to);
        // Renamed into place: the exporter never reads half a file.
        let aside = path.with_extension("new");
        let written = std::fs::write(&aside, lines.join("\n") + "\n").and_then(|()| std::fs::rename(&aside, &path));
        if let Err(error) = written {
            tracing::warn!(%error, "the demo's list of calls could not be written");
        }
        tokio::time::sleep(DIALLER_PERIOD).await;
    }
}

fn exporter_yml(simulator: &Simulator, user_name: &str) -> String {
    let list = |names: Vec<String>| serde_json::Value::from(names).to_string();
    let agents = simulator.truth().agents(Vendor::Ozonetel).iter().map(|agent| agent.key.clone()).collect();
    let campaigns = Truth::lines(Vendor::Ozonetel).iter().map(|(_, name)| (*name).to_owned()).collect();
    let mut yml = String::new();
    // Writing into a string does not fail.
    let _ = write!(
        yml,
        "state: {{ path: state }}
vendors:
  ozonetel:
    - account: support-in
      base_url: {}
      user_name: {user_name}
      api_key_file: api_key
      rate_limit: 3000/1m
      reports:
        average_handling_time: {{ interval: 5s, agents: {}, campaigns: {} }}
        call_details: {{ interval: 2s, ucid_file: ucids.txt }}
        agent_summary: {{ interval: 2s }}
    - account: sales-in
      base_url: {}
      user_name: {user_name}
      api_key_file: api_key
      rate_limit: 3000/1m
      reports:
        call_records: {{ interval: 5s }}
  wolkvox:
    - account: ventas-co
      base_url: {}
      token_file: token
      licences: 1000
      reports:
        agent_activity: {{ interval: 2s }}
        agent_hold_mute: {{ interval: 2s }}
        skill_service: {{ interval: 2s }}
        token_usage: {{ interval: 5s }}
  huawei:
    - account: aicc-br
      base_url: {}
      guids: {{ file: guids.json }}
      reports:
        agent_call_statistics: {{ interval: 2s }}
  voximplant:
    - account: shop-eu
      base_url: {}
      credentials_file: credentials.json
      reports:
        operator_statistics: {{ interval: 2s }}
        operator_status: {{ interval: 2s }}
        queue_statistics: {{ interval: 2s, queues: [54, 55] }}
        directory: {{ interval: 30s, application: shop }}
",
        simulator.url(Vendor::Ozonetel),
        list(agents),
        list(campaigns),
        simulator.url(Vendor::Ozonetel),
        simulator.url(Vendor::Wolkvox),
        simulator.url(Vendor::Huawei),
        simulator.url(Vendor::Voximplant),
    );
    yml
}
