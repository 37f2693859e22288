//! The command line: which commands and options there are, and what a wrong one is answered. The names of the options are
//! those of the Prometheus exporter toolkit. What a command then does is left to `main` and the modules that it calls.

pub mod check_config;

use std::ffi::OsString;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs as _};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::web::{HEALTHY, READY};
pub use check_config::check_config;

/// Exit code of a failure at run time: address in use, state unusable.
pub const EXIT_RUNTIME: u8 = 1;
/// Exit code of a wrong command line.
pub const EXIT_USAGE: u8 = 64;
/// Exit code of a wrong configuration.
pub const EXIT_CONFIG: u8 = 78;

/// Paths that the exporter serves beside the metrics.
const OWN_PATHS: [&str; 5] = ["/", HEALTHY, READY, "/-/reload", "/api/v1/reports"];

/// Prometheus exporter for contact centres on Ozonetel, Wolkvox, Huawei CC-Gateway and Voximplant.
///
/// Without a command it polls the accounts of exporter.yml, each report on its own schedule, and serves the figures at
/// /metrics. A scrape never causes a request to a vendor.
#[derive(Debug, Parser)]
#[command(
    name = "contact-center-exporter",
    version,
    args_conflicts_with_subcommands = true,
    after_long_help = "\
Examples:
  contact-center-exporter demo
      try it: simulated vendors, no configuration
  contact-center-exporter check-config exporter.yml
      is the file right, and do its requests fit the vendors' limits?
  contact-center-exporter --config.file=/etc/contact-center-exporter/exporter.yml --log.format=json
      serve

Signals: SIGHUP reads exporter.yml and the secrets again, as POST /-/reload does; what is wrong changes nothing. SIGTERM and
SIGINT finish running scrapes and exit within 5 s, a second one at once.
Exit codes: 0 success, 1 failure at run time (address in use, certificate or state unusable), 64 wrong command line, 78 wrong configuration."
)]
pub struct Cli {
    /// What to do; without one, serve.
    #[command(subcommand)]
    pub command: Option<Command>,
    /// Options of the command that serves.
    #[command(flatten)]
    pub serve: Serve,
}

/// What to do instead of serving.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Check exporter.yml and print the request plan
    ///
    /// Lists everything that is wrong, or prints per account and report the requests per minute and per day against the
    /// vendor's limit. Nothing is sent and no secret is read. Exits with 0, or with 78 if the file is wrong or the plan
    /// cannot fit.
    CheckConfig(CheckConfig),
    /// Serve made-up data of all four vendors, without configuration
    ///
    /// Runs simulators of the vendors' APIs on loopback and an exporter that polls them, with its state in a temporary
    /// directory, and prints where to look.
    Demo(Demo),
    /// Exit with 0 if the exporter on this host answers healthy, else with 1
    ///
    /// For container health checks: asks /-/healthy, over TLS if that is what the exporter speaks. With passwords it is
    /// refused, unless the exporter runs with --web.auth-exempt-health. It has no client certificate to show: an exporter that
    /// asks for one serves, and that is taken for healthy.
    Health(HealthCheck),
}

/// Options of the command that serves.
#[derive(Debug, Args)]
pub struct Serve {
    /// Configuration file; relative paths in it are relative to its folder
    #[arg(long = "config.file", value_name = "FILE", default_value = "exporter.yml")]
    pub config_file: PathBuf,
    /// Where to listen.
    #[command(flatten)]
    pub web: Web,
    /// Address to take the vendors' callbacks on; off unless given
    ///
    /// HOST:PORT as for --web.listen-address, and nothing else is served there: POST /hooks/ozonetel/ACCOUNT for accounts with
    /// callback: true. TLS is that of --web.config.file, passwords are not asked for. Nothing after the = is as if it were not given.
    #[arg(long = "hooks.listen-address", value_name = "[HOST]:PORT")]
    hooks: Option<HooksAddress>,
    /// How to log.
    #[command(flatten)]
    pub log: Log,
}

/// `--web.*`
#[derive(Debug, Args)]
pub struct Web {
    /// Address to serve metrics on; may be given several times
    ///
    /// HOST:PORT, [IPv6]:PORT, or :PORT for all addresses of the machine, IPv6 and IPv4. Port 0 takes any free one.
    /// Examples: :10048, 127.0.0.1:10048, [::1]:10048.
    #[arg(long = "web.listen-address", value_name = "[HOST]:PORT", default_value = ":10048")]
    pub listen: Vec<ListenAddress>,
    /// Path of the metrics
    #[arg(long = "web.telemetry-path", value_name = "PATH", default_value = "/metrics", value_parser = telemetry_path)]
    pub telemetry_path: String,
    /// File with TLS, client certificates, passwords, headers and a rate limit
    ///
    /// The file of the Prometheus exporter toolkit; docs/operating.md has its keys. It is read again while the exporter runs, and
    /// so are the certificates that it names. Nothing after the = is as if it were not given.
    #[arg(long = "web.config.file", value_name = "FILE")]
    access_file: Option<OsString>,
    /// Serve on the sockets that systemd has opened, in place of --web.listen-address
    #[arg(long = "web.systemd-socket")]
    pub systemd_socket: bool,
    /// Answer /-/healthy and /-/ready without a password, for probes
    ///
    /// For health checks that cannot send one. Client certificates are asked for all the same: they belong to the connection.
    #[arg(long = "web.auth-exempt-health")]
    pub auth_exempt_health: bool,
}

/// `--log.*`
#[derive(Debug, Clone, Copy, Args)]
pub struct Log {
    /// Least important lines to log; logs go to standard error
    #[arg(long = "log.level", value_name = "LEVEL", value_enum, default_value_t = LogLevel::Info)]
    pub level: LogLevel,
    /// How a log line is written
    #[arg(long = "log.format", value_name = "FORMAT", value_enum, default_value_t = LogFormat::Logfmt)]
    pub format: LogFormat,
}

/// `--log.level`
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogLevel {
    /// Everything, every poll and request too.
    Debug,
    /// What changed.
    Info,
    /// What needs a look.
    Warn,
    /// What failed.
    Error,
}

/// `--log.format`
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// key=value.
    Logfmt,
    /// One JSON object per line.
    Json,
}

/// Options of `check-config`.
#[derive(Debug, Args)]
pub struct CheckConfig {
    /// File to check
    #[arg(value_name = "FILE", default_value = "exporter.yml")]
    pub file: PathBuf,
    /// How to print the plan, and what is wrong
    #[arg(long, value_name = "FORMAT", value_enum, default_value_t = PlanFormat::Table)]
    pub format: PlanFormat,
    /// Print the JSON schema of exporter.yml instead, for editors that complete and check while you type
    #[arg(long, conflicts_with_all = ["file", "format"])]
    pub schema: bool,
}

/// `check-config --format`
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum PlanFormat {
    /// Aligned text.
    Table,
    /// One JSON object.
    Json,
}

/// Options of `demo`.
#[derive(Debug, Args)]
pub struct Demo {
    /// Run the simulated day N times as fast, from 1 to 86400
    ///
    /// 60 makes a minute of a simulated hour.
    #[arg(long, value_name = "N", default_value = "1", value_parser = speed)]
    pub speed: f64,
    /// Let the simulated vendors fail now and then: errors, rate limits, outages
    #[arg(long)]
    pub chaos: bool,
    /// Where to listen.
    #[command(flatten)]
    pub web: Web,
    /// How to log.
    #[command(flatten)]
    pub log: Log,
}

/// Options of `health`.
#[derive(Debug, Args)]
pub struct HealthCheck {
    /// Address that the exporter serves on, as given to it
    #[arg(long = "web.listen-address", value_name = "[HOST]:PORT", default_value = ":10048")]
    pub listen: ListenAddress,
}

/// An address to listen on: one, or several that stand for the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListenAddress {
    text: String,
    /// In order of preference. `:PORT` gives `[::]`, which takes IPv4 too where the system allows it, and `0.0.0.0` for
    /// machines without IPv6; the first that can be bound is enough.
    pub candidates: Vec<SocketAddr>,
}

/// An address, or nothing.
#[derive(Debug, Clone)]
struct HooksAddress(Option<ListenAddress>);

// === impl Cli ===

/// Exit code of a command line that was not accepted, or that only asked for help or version. The error prints itself
/// to where it belongs.
pub fn exit_code(error: &clap::Error) -> u8 {
    if error.use_stderr() { EXIT_USAGE } else { 0 }
}

fn telemetry_path(text: &str) -> Result<String, String> {
    let plain = |b: u8| b.is_ascii_graphic() && !b"?#%\"<>\\".contains(&b);
    if !text.starts_with('/') || !text.bytes().all(plain) {
        return Err("expected a path that begins with /".to_owned());
    }
    if OWN_PATHS.contains(&text) {
        return Err("the exporter serves something else there".to_owned());
    }
    Ok(text.to_owned())
}

fn speed(text: &str) -> Result<f64, String> {
    let speed = text.parse().ok().filter(|speed| (1.0..=86_400.0).contains(speed));
    speed.ok_or_else(|| "expected a number from 1 to 86400".to_owned())
}

// === impl Serve ===

impl Serve {
    /// `--hooks.listen-address`, if there is one.
    pub fn hooks(&self) -> Option<&ListenAddress> {
        self.hooks.as_ref()?.0.as_ref()
    }
}

// === impl Web ===

impl Web {
    /// `--web.config.file`, if there is one.
    pub fn config_file(&self) -> Option<&Path> {
        self.access_file.as_deref().map(Path::new).filter(|path| !path.as_os_str().is_empty())
    }
}

// === impl LogLevel ===

impl From<LogLevel> for tracing::Level {
    fn from(level: LogLevel) -> Self {
        match level {
            LogLevel::Debug => Self::DEBUG,
            LogLevel::Info => Self::INFO,
            LogLevel::Warn => Self::WARN,
            LogLevel::Error => Self::ERROR,
        }
    }
}

// === impl ListenAddress ===

impl ListenAddress {
    /// Where someone on this machine reaches it.
    pub fn reachable(&self) -> Vec<SocketAddr> {
        let local = |ip: IpAddr| match ip {
            IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
            IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
            ip => ip,
        };
        self.candidates.iter().map(|address| SocketAddr::new(local(address.ip()), address.port())).collect()
    }
}

impl FromStr for ListenAddress {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const EXPECTED: &str = "expected [HOST]:PORT, such as :10048, 127.0.0.1:10048 or [::1]:10048";
        let (host, port) = text.rsplit_once(':').ok_or(EXPECTED)?;
        let port = Some(port).filter(|port| port.bytes().all(|b| b.is_ascii_digit()));
        let port: u16 = port.and_then(|port| port.parse().ok()).ok_or(EXPECTED)?;
        let candidates = if host.is_empty() {
            let all: [IpAddr; 2] = [Ipv6Addr::UNSPECIFIED.into(), Ipv4Addr::UNSPECIFIED.into()];
            all.map(|ip| SocketAddr::new(ip, port)).to_vec()
        } else if let Ok(address) = text.parse() {
            vec![address]
        } else if host.contains([':', '[', ']']) {
            return Err(EXPECTED.to_owned());
        } else {
            let found = (host, port).to_socket_addrs().map_err(|_| format!("no such host: {host}"))?;
            found.collect()
        };
        Ok(Self { text: text.to_owned(), candidates })
    }
}

impl FromStr for HooksAddress {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.is_empty() { Ok(Self(None)) } else { text.parse().map(|address| Self(Some(address))) }
    }
}

impl std::fmt::Display for ListenAddress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Result<Cli, u8> {
        let line = std::iter::once("contact-center-exporter").chain(line.split_whitespace());
        Cli::try_parse_from(line).map_err(|error| exit_code(&error))
    }

    #[test]
    fn serves_by_default() {
        use clap::CommandFactory as _;
        Cli::command().debug_assert();
        let cli = parsed("").unwrap();
        assert!(cli.command.is_none());
        assert_eq!(cli.serve.config_file, PathBuf::from("exporter.yml"));
        assert_eq!(cli.serve.web.listen, [":10048".parse().unwrap()]);
        assert_eq!(cli.serve.web.telemetry_path, "/metrics");
        assert_eq!((cli.serve.web.config_file(), cli.serve.web.systemd_socket), (None, false));
        assert_eq!((cli.serve.log.level, cli.serve.log.format), (LogLevel::Info, LogFormat::Logfmt));
    }

    #[test]
    fn options_have_the_toolkits_names() {
        let cli = parsed("--config.file=x.yml --web.listen-address=:1 --web.listen-address [::1]:2 --log.level=debug")
            .unwrap();
        assert_eq!(cli.serve.config_file, PathBuf::from("x.yml"));
        assert_eq!(cli.serve.web.listen.iter().map(ToString::to_string).collect::<Vec<_>>(), [":1", "[::1]:2"]);
        assert_eq!(tracing::Level::from(cli.serve.log.level), tracing::Level::DEBUG);
        let Some(Command::Demo(demo)) =
            parsed("demo --speed 60 --chaos --web.telemetry-path=/m --web.config.file=w.yml --log.format=json")
                .unwrap()
                .command
        else {
            panic!("no demo")
        };
        assert!(demo.chaos && (demo.speed - 60.0).abs() < 1e-9);
        assert_eq!((demo.web.telemetry_path.as_str(), demo.log.format), ("/m", LogFormat::Json));
        assert_eq!(demo.web.config_file(), Some(Path::new("w.yml")));
        let cli = parsed("--hooks.listen-address=127.0.0.1:1").unwrap();
        assert_eq!(cli.serve.hooks().map(ToString::to_string).as_deref(), Some("127.0.0.1:1"));
        for off in ["", "--hooks.listen-address="] {
            assert!(parsed(off).unwrap().serve.hooks().is_none(), "{off}");
        }
        let cli = parsed("--web.config.file= --web.systemd-socket --web.auth-exempt-health").unwrap();
        assert_eq!(cli.serve.web.config_file(), None);
        assert!(cli.serve.web.systemd_socket && cli.serve.web.auth_exempt_health);
        let Some(Command::CheckConfig(check)) = parsed("check-config a.yml --format json").unwrap().command else {
            panic!("no check-config")
        };
        assert_eq!((check.file, check.format), (PathBuf::from("a.yml"), PlanFormat::Json));
    }

    #[test]
    fn wrong_lines_are_usage_errors_and_help_is_none() {
        for line in [
            "--nonsense",
            "nonsense",
            "check-config a b",
            "check-config --web.listen-address=:1",
            "--log.level=trace",
            "--log.format=xml",
            "--log.level=debug demo",
            "--web.listen-address=10048",
            "--hooks.listen-address=10048",
            "demo --hooks.listen-address=:1",
            "--web.telemetry-path=metrics",
            "--web.telemetry-path=/-/healthy",
            "demo --speed=0",
            "demo --speed=NaN",
            "demo --config.file=x",
        ] {
            assert_eq!(parsed(line).err(), Some(EXIT_USAGE), "{line}");
        }
        for line in ["--help", "-h", "--version", "demo --help", "help"] {
            assert_eq!(parsed(line).err(), Some(0), "{line}");
        }
    }

    #[test]
    fn a_bare_port_means_every_address() {
        let all: ListenAddress = ":10048".parse().unwrap();
        let texts = |addresses: Vec<SocketAddr>| addresses.iter().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(texts(all.candidates.clone()), ["[::]:10048", "0.0.0.0:10048"]);
        assert_eq!(texts(all.reachable()), ["[::1]:10048", "127.0.0.1:10048"]);
        let one: ListenAddress = "[::1]:0".parse().unwrap();
        assert_eq!(texts(one.candidates), ["[::1]:0"]);
        for wrong in ["", ":", "10048", "127.0.0.1", "::1:10048", ":65536", ":+1", ":-1", "[::1:1", "a b:1"] {
            assert!(wrong.parse::<ListenAddress>().is_err(), "{wrong}");
        }
    }
}
