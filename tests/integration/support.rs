//! The whole program inside a test: an exporter.yml in a temporary folder, listeners on port 0, a stop token, and what
//! every test asks of it. What a page may look like is decided in [`super::exposition`].

use std::fs::Permissions;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use contact_center_exporter::app::App;
use contact_center_exporter::clock::Clock;
use contact_center_exporter::config::{self, Loaded};
use contact_center_exporter::simulator::{Options, Simulator};
use contact_center_exporter::web::Access;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::sync::OnceCell;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::exposition::Exposition;

/// What a scraper of today's Prometheus asks for.
pub(crate) const OPEN_METRICS: &str = "application/openmetrics-text;version=1.0.0";
/// No condition takes longer, however busy the machine is.
const DEADLINE: Duration = Duration::from_secs(40);
const PAUSE: Duration = Duration::from_millis(50);

/// A running program. Its folder goes with it.
pub(crate) struct Running {
    pub(crate) address: SocketAddr,
    pub(crate) folder: TempDir,
    client: reqwest::Client,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

/// An answer of the program.
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: http::HeaderMap,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }
}

impl Running {
    /// Starts on `vendors`, the part of exporter.yml below `vendors:`, with an empty state.
    pub(crate) async fn start(vendors: &str, clock: &Clock) -> Self {
        Self::start_in(tempfile::tempdir().unwrap(), &format!("vendors:\n{vendors}"), clock).await
    }

    /// Starts on the rest of an exporter.yml in a folder that may hold its other files.
    pub(crate) async fn start_in(folder: TempDir, yaml: &str, clock: &Clock) -> Self {
        Self::start_guarded(folder, yaml, clock, Access::open()).await
    }

    /// The same, serving only whom `access` lets in.
    pub(crate) async fn start_guarded(folder: TempDir, yaml: &str, clock: &Clock, access: Arc<Access>) -> Self {
        Self::start_app(folder, yaml, |loaded| App::new(loaded, clock, "/metrics").unwrap().guarded(access)).await
    }

    /// The same, as the caller makes it.
    pub(crate) async fn start_app(folder: TempDir, yaml: &str, make: impl FnOnce(&Loaded) -> App) -> Self {
        let file = write(folder.path(), "exporter.yml", format!("state: {{ path: state }}\n{yaml}"));
        let app = make(&config::load(&file).unwrap_or_else(|error| panic!("{error}\n{yaml}")));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let stop = CancellationToken::new();
        let task = tokio::spawn(app.run(vec![listener], stop.clone()));
        Self { address, folder, client: client(), stop, task }
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.get_as(path, "").await
    }

    pub(crate) async fn get_as(&self, path: &str, accept: &str) -> Answer {
        let url = format!("http://{}{path}", self.address);
        read(self.client.get(url).header("accept", accept).send().await.unwrap()).await
    }

    /// The metrics now; a page that is not well-formed ends the test.
    pub(crate) async fn page(&self) -> Exposition {
        let text = self.get("/metrics").await.body;
        Exposition::parse(&text).unwrap_or_else(|error| panic!("{error}\n{text}"))
    }

    /// The first page on which `holds`.
    pub(crate) async fn until(&self, what: &str, holds: impl Fn(&Exposition) -> bool) -> Exposition {
        let deadline = Instant::now() + DEADLINE;
        loop {
            let page = self.page().await;
            if holds(&page) {
                return page;
            }
            assert!(Instant::now() < deadline, "never: {what}\n{}", page.text);
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// The first page after every report was tried.
    pub(crate) async fn ready(&self) -> Exposition {
        let deadline = Instant::now() + DEADLINE;
        while self.get("/-/ready").await.status != 200 {
            assert!(Instant::now() < deadline, "never ready");
            tokio::time::sleep(PAUSE).await;
        }
        self.page().await
    }

    /// Stops it, and hands the folder back with the state in it.
    pub(crate) async fn stop(self) -> TempDir {
        self.stop.cancel();
        tokio::time::timeout(DEADLINE, self.task).await.expect("it stops").unwrap();
        self.folder
    }
}

/// A client that asks loopback directly.
pub(crate) fn client() -> reqwest::Client {
    reqwest::Client::builder().no_proxy().timeout(DEADLINE).build().unwrap()
}

pub(crate) async fn read(response: reqwest::Response) -> Answer {
    let (status, headers) = (response.status().as_u16(), response.headers().clone());
    Answer { status, headers, body: response.text().await.unwrap() }
}

/// Writes a file and says where it is. Nobody else can read it, as is right for secrets.
pub(crate) fn write(folder: &Path, name: &str, text: impl AsRef<[u8]>) -> std::path::PathBuf {
    let path = folder.join(name);
    std::fs::write(&path, text).unwrap();
    std::fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
    path
}

/// A fixture's text.
pub(crate) fn fixture(name: &str) -> String {
    std::fs::read_to_string(Path::new("tests/fixtures").join(name)).unwrap()
}

/// Noon of the day of the fixtures in India, early morning in Bogota; it stands still.
pub(crate) fn noon() -> Clock {
    Clock::manual("2026-11-20T06:30:00Z".parse().unwrap())
}

/// The same day while every simulated vendor is at work.
pub(crate) fn afternoon() -> Clock {
    Clock::scaled("2026-11-20T14:00:00Z".parse().unwrap(), 1.0)
}

/// A Voximplant service account's key, made once.
pub(crate) async fn voximplant_key() -> &'static str {
    static KEY: OnceCell<String> = OnceCell::const_new();
    KEY.get_or_init(|| async {
        let simulator = Simulator::start(Options::new(Clock::system())).await.unwrap();
        simulator.credentials().voximplant_key
    })
    .await
}

/// The document stands in the tree as `text`, or is made to with `UPDATE_DOCS=1`; gives back what stands there.
pub(crate) fn assert_written(document: &str, text: &str) -> String {
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(document, text).unwrap();
    }
    let found = std::fs::read_to_string(document).unwrap_or_default();
    assert!(found == text, "{document} is out of date: run the test with UPDATE_DOCS=1");
    found
}
