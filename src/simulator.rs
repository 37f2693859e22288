//! Stand-ins of the four vendors' HTTP APIs on loopback, over one seeded [`truth`]. They follow the vendors' documents
//! and share no code with `vendors`: a misreading must not cancel itself out. The demo, the tests and the benches
//! run against them.

mod form;
mod huawei;
mod limits;
mod log;
mod ozonetel;
mod serve;
mod times;
pub mod truth;
mod voximplant;
mod wolkvox;

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use tokio::net::TcpListener;
use tokio_util::task::AbortOnDropHandle;

use crate::clock::Clock;
pub use log::{Entry, VendorLog};
use serve::Room;
use truth::Truth;

/// Whom a simulator stands in for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Vendor {
    /// Ozonetel CloudAgent.
    Ozonetel,
    /// Wolkvox Manager.
    Wolkvox,
    /// Huawei CC-Gateway.
    Huawei,
    /// Voximplant Management API.
    Voximplant,
}

/// How to run. [`Options::new`] has the defaults.
#[derive(Debug, Clone)]
pub struct Options {
    /// Decides everything that happens.
    pub seed: u64,
    /// The present: which calls have ended, which tokens are valid.
    pub clock: Clock,
    /// Agents of each vendor.
    pub agents: usize,
    /// Agents of Huawei, if another number.
    pub huawei_agents: Option<usize>,
    /// Since when Huawei's numbers count.
    pub huawei_since: Since,
    /// How often Huawei's GUIDs are replaced; dead after twice as long. None: never, as with static authentication.
    pub huawei_guid_life: Option<Duration>,
    /// Whether two nodes of Huawei's stand behind a load balancer that knows them by a cookie. A node that does not hold an
    /// agent's session is behind with his numbers.
    pub huawei_cookies: bool,
    /// How many times the documented limits may be used; none: no limits. They are counted in tokio's time, as a
    /// client's budget is.
    pub limits: Option<f64>,
    /// Share of the requests, from 0 to 1, that end in some failure.
    pub chaos: f64,
    /// How long each answer takes.
    pub latency: Duration,
    /// Whether Ozonetel's v2 APIs want a token (the account's API authentication).
    pub ozonetel_token: bool,
    /// Wolkvox licences; 1000 requests a day each.
    pub wolkvox_licences: u32,
    /// The zone of the Wolkvox tenant.
    pub wolkvox_zone: TimeZone,
    /// Whether agent_9 ends with a row that sums up all others.
    pub wolkvox_total: bool,
    /// Requests that the operation's other Wolkvox tokens have spent today.
    pub wolkvox_others: u32,
    /// Requests a day that the Wolkvox token may send, if fewer than the operation.
    pub wolkvox_token_limit: Option<u32>,
    /// Queues of Voximplant, an even number.
    pub voximplant_queues: usize,
    /// The very same request within so long is refused by Voximplant as a probable automatic resend. How the vendor tells is not
    /// documented, so nothing is by default.
    pub voximplant_resend_window: Duration,
}

/// Since when numbers count: editions of Huawei's documents differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Since {
    /// The agent's sign-in.
    SignIn,
    /// Midnight of the call centre, here UTC.
    Midnight,
}

/// What makes one vendor fail until it is set back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Fault {
    /// Works.
    #[default]
    None,
    /// Accepts requests and never answers.
    Hang,
    /// Answers 200 with a web page.
    Html,
    /// Answers with this HTTP status and a web page.
    Status(u16),
    /// Promises the whole body, sends half and closes.
    CutBody,
    /// Answers as if too many had asked.
    RateLimited,
    /// Answers as if the credentials were wrong.
    WrongCredentials,
    /// Closes every connection at once.
    Down,
}

/// What a client needs to be let in.
#[derive(Clone)]
pub struct Credentials {
    /// Ozonetel account name.
    pub ozonetel_user_name: String,
    /// Ozonetel API key.
    pub ozonetel_api_key: String,
    /// Wolkvox token.
    pub wolkvox_token: String,
    /// Huawei agent ids with their GUIDs, as JSON: `{"101":"<guid>"}`, or with cookies `{"101":{"guid":"…","cookie":"…"}}`.
    pub huawei_guids: String,
    /// Voximplant service account, as the flat JSON file.
    pub voximplant_key: String,
    /// A child account of it, accepted as `iss` too.
    pub voximplant_child: u64,
}

/// Four running vendors. They stop when this is dropped.
pub struct Simulator {
    world: Arc<World>,
    rooms: [Arc<Room>; Vendor::COUNT],
    addresses: [SocketAddr; Vendor::COUNT],
    voximplant_key: String,
    tasks: Vec<AbortOnDropHandle<()>>,
}

/// A fault that tests set while requests read it.
type FaultCell = Mutex<Fault>;

/// What all vendors share.
#[derive(Debug)]
struct World {
    truth: Truth,
    options: Options,
    user_name: String,
    api_key: String,
    token: String,
    /// Times that the GUIDs were replaced.
    rotation: AtomicU64,
    /// So many seconds are Voximplant's figures behind.
    lag: AtomicI64,
    /// Huawei answers everything with this code.
    retcode: Mutex<Option<&'static str>>,
}

// === impl Vendor ===

impl Vendor {
    /// How many there are.
    pub const COUNT: usize = 4;

    /// Every vendor, in the order of their numbers.
    pub const ALL: [Self; Self::COUNT] = [Self::Ozonetel, Self::Wolkvox, Self::Huawei, Self::Voximplant];

    /// The value of the label `vendor`.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Ozonetel => "ozonetel",
            Self::Wolkvox => "wolkvox",
            Self::Huawei => "huawei",
            Self::Voximplant => "voximplant",
        }
    }
}

// === impl Options ===

impl Options {
    /// Ten agents per vendor, the documented limits, no chaos.
    pub fn new(clock: Clock) -> Self {
        Self {
            seed: 1,
            clock,
            agents: 10,
            huawei_agents: None,
            huawei_since: Since::SignIn,
            huawei_guid_life: None,
            huawei_cookies: false,
            limits: Some(1.0),
            chaos: 0.0,
            latency: Duration::ZERO,
            ozonetel_token: false,
            wolkvox_licences: 1,
            // Bogota has kept this offset since 1993.
            wolkvox_zone: TimeZone::fixed(jiff::tz::offset(-5)),
            wolkvox_total: true,
            voximplant_queues: 2,
            wolkvox_others: 0,
            wolkvox_token_limit: None,
            voximplant_resend_window: Duration::ZERO,
        }
    }
}

// === impl Credentials ===

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Credentials(…)")
    }
}

// === impl Simulator ===

impl Simulator {
    /// Opens one listener per vendor on loopback and serves until dropped.
    pub async fn start(options: Options) -> io::Result<Self> {
        let mut simulator = Self::offline(options)?;
        for (room, address) in simulator.rooms.iter().zip(&mut simulator.addresses) {
            let listener = TcpListener::bind(*address).await?;
            *address = listener.local_addr()?;
            simulator.tasks.push(AbortOnDropHandle::new(tokio::spawn(serve::run(listener, Arc::clone(room)))));
        }
        Ok(simulator)
    }

    /// The same without sockets, to be asked through [`Simulator::answer`].
    pub fn offline(options: Options) -> io::Result<Self> {
        let mut rng = truth::Rng::of(&[options.seed, 9]);
        let mut secret = |prefix: &str| format!("{prefix}{:016x}{:016x}", rng.next(), rng.next());
        let world = Arc::new(World {
            user_name: "acme".to_owned(),
            api_key: secret("KK"),
            token: secret(""),
            truth: Truth::with_huawei(options.seed, options.agents, options.huawei_agents.unwrap_or(options.agents)),
            rotation: AtomicU64::new(0),
            lag: AtomicI64::new(0),
            retcode: Mutex::default(),
            options,
        });
        let (voximplant, voximplant_key) = voximplant::Platform::new(Arc::clone(&world))?;
        let rooms = [
            Room::new(Vendor::Ozonetel, &world, ozonetel::CloudAgent::new(Arc::clone(&world))),
            Room::new(Vendor::Wolkvox, &world, wolkvox::Manager::new(Arc::clone(&world))),
            Room::new(Vendor::Huawei, &world, huawei::Gateway::new(Arc::clone(&world))),
            Room::new(Vendor::Voximplant, &world, voximplant),
        ];
        let addresses = [SocketAddr::from((Ipv4Addr::LOCALHOST, 0)); Vendor::COUNT];
        Ok(Self { world, rooms, addresses, voximplant_key, tasks: Vec::new() })
    }

    /// One vendor's answer to a request, at once: HTTP status and body. Of the faults it knows those that are an answer.
    pub fn answer(&self, vendor: Vendor, request: http::Request<bytes::Bytes>) -> (u16, bytes::Bytes) {
        self.rooms[vendor as usize].answer(request)
    }

    /// What `base_url` has to be.
    pub fn url(&self, vendor: Vendor) -> String {
        format!("http://{}", self.addresses[vendor as usize])
    }

    /// What lets a client in, now: GUIDs change with [`Simulator::rotate_guids`].
    pub fn credentials(&self) -> Credentials {
        Credentials {
            ozonetel_user_name: self.world.user_name.clone(),
            ozonetel_api_key: self.world.api_key.clone(),
            wolkvox_token: self.world.token.clone(),
            huawei_guids: huawei::guids(&self.world),
            voximplant_key: self.voximplant_key.clone(),
            voximplant_child: voximplant::CHILD,
        }
    }

    /// What really happened.
    pub fn truth(&self) -> &Truth {
        &self.world.truth
    }

    /// What one vendor has been asked so far.
    pub fn log(&self, vendor: Vendor) -> VendorLog {
        self.rooms[vendor as usize].log.snapshot()
    }

    /// Breaks one vendor, or mends it with [`Fault::None`].
    pub fn set_fault(&self, vendor: Vendor, fault: Fault) {
        *self.rooms[vendor as usize].fault.lock().unwrap_or_else(PoisonError::into_inner) = fault;
    }

    /// Replaces every GUID, as dynamic authentication does; the old ones are dead at once.
    pub fn rotate_guids(&self) {
        self.world.rotation.fetch_add(1, Ordering::Relaxed);
    }

    /// Huawei answers every request with this code, until it is set back.
    pub fn set_huawei_retcode(&self, code: Option<&'static str>) {
        *self.world.retcode.lock().unwrap_or_else(PoisonError::into_inner) = code;
    }

    /// Voximplant's figures are those of so many seconds ago; its clock, which tokens are checked by, is not.
    pub fn set_voximplant_lag(&self, seconds: i64) {
        self.world.lag.store(seconds, Ordering::Relaxed);
    }

    /// The Ozonetel calls that ended in `(from, to]`, as id and Indian day: what a file of UCIDs would list.
    pub fn ozonetel_ucids(&self, from: Timestamp, to: Timestamp) -> Vec<(String, Date)> {
        ozonetel::ucids(&self.world.truth, from.as_second() + 1..to.as_second() + 1)
    }

    /// What Ozonetel would call back of the same calls: the body of a request for each.
    pub fn ozonetel_callbacks(&self, from: Timestamp, to: Timestamp) -> Vec<String> {
        ozonetel::callbacks(&self.world, &(from.as_second() + 1..to.as_second() + 1))
    }
}

impl std::fmt::Debug for Simulator {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Simulator").field("addresses", &self.addresses).finish_non_exhaustive()
    }
}

// === impl World ===

impl World {
    /// The present, in seconds since the epoch.
    fn now(&self) -> i64 {
        self.options.clock.now().as_second()
    }
}

#[cfg(test)]
mod tests;
