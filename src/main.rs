//! Start-up order and exit codes; everything else is the library's.

use std::io::Write as _;
use std::net::SocketAddr;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser as _;
use contact_center_exporter::app::{App, StartError};
use contact_center_exporter::cli::{
    self, Cli, Command, Demo, EXIT_CONFIG, EXIT_RUNTIME, HealthCheck, ListenAddress, Log, PlanFormat, Serve, Web,
};
use contact_center_exporter::client::{Http, Request, Transport as _};
use contact_center_exporter::clock::Clock;
use contact_center_exporter::config::ConfigError;
use contact_center_exporter::settings::{AccountSettings, Tls};
use contact_center_exporter::web::{Access, HEALTHY, Reloader, WebConfigError};
use contact_center_exporter::{config, demo, memory, telemetry};
use listenfd::ListenFd;
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;
use url::Url;

/// Time for an answer to `health`.
const HEALTH_TIME: Duration = Duration::from_secs(5);
/// Time for everything to end once the stop signal came.
const STOP_TIME: Duration = Duration::from_millis(4800);

fn main() -> ExitCode {
    memory::return_what_is_free();
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Help and errors for people; a closed pipe is nobody's failure.
            let _ = error.print();
            return ExitCode::from(cli::exit_code(&error));
        }
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => return fail(EXIT_RUNTIME, &format!("no runtime: {error}")),
    };
    let code = runtime.block_on(async {
        match cli.command {
            None => serve(cli.serve).await,
            Some(Command::CheckConfig(options)) if options.schema => {
                print(&format!("{:#}\n", config::schema()));
                ExitCode::SUCCESS
            }
            Some(Command::CheckConfig(options)) => {
                let (code, text) = cli::check_config(&options.file, options.format);
                // A program that asked for JSON reads it from standard output, whatever it says.
                if code == 0 || options.format == PlanFormat::Json {
                    print(&text);
                    ExitCode::from(code)
                } else {
                    fail(code, text.trim_end())
                }
            }
            Some(Command::Demo(options)) => run_demo(options).await,
            Some(Command::Health(options)) => health(&options).await,
        }
    });
    // A file read or a command of a GUID source must not keep the process.
    runtime.shutdown_background();
    code
}

async fn serve(options: Serve) -> ExitCode {
    start_logs(options.log);
    let loaded = match config::load(&options.config_file) {
        Ok(loaded) => loaded,
        Err(error @ ConfigError::Read { .. }) => {
            return fail(EXIT_CONFIG, &format!("{error}; --config.file names another one, and `demo` needs none"));
        }
        Err(error) => return fail(EXIT_CONFIG, &error.to_string()),
    };
    loaded.tell_warnings();
    run(&loaded, Clock::system(), &options.web, options.hooks(), |_, _| {}).await
}

async fn run_demo(options: Demo) -> ExitCode {
    start_logs(options.log);
    let demo = match demo::Stage::new(options.speed, options.chaos).await {
        Ok(demo) => demo,
        Err(error) => return fail(EXIT_RUNTIME, &format!("the demo cannot start: {error:#}")),
    };
    let path = options.web.telemetry_path.clone();
    let greet = |address, tls| print(&demo.greeting(address, tls, &path));
    run(demo.loaded(), demo.clock(), &options.web, None, greet).await
}

/// Binds, starts and waits for the stop signal.
async fn run(
    loaded: &config::Loaded,
    clock: Clock,
    web: &Web,
    hooks: Option<&ListenAddress>,
    ready: impl FnOnce(SocketAddr, bool),
) -> ExitCode {
    // Before anything takes time: without a listener for it, SIGHUP would end the program.
    let Ok(hangup) = signal(SignalKind::hangup()) else {
        return fail(EXIT_RUNTIME, "signals cannot be received");
    };
    let access = match web.config_file().map(|file| Access::load(file, web.auth_exempt_health)).transpose() {
        Ok(access) => access.unwrap_or_else(Access::open),
        Err(error @ WebConfigError::Config(_)) => return fail(EXIT_CONFIG, &error.to_string()),
        // As for a port in use: what is written may be right, and what it stands on is not there.
        Err(error @ WebConfigError::File { .. }) => return fail(EXIT_RUNTIME, &error.to_string()),
    };
    let listeners = match listen(web).await {
        Ok(listeners) => listeners,
        Err(error) => return fail(EXIT_RUNTIME, &error),
    };
    let hooks = match listen_on(hooks).await {
        Ok(mut hooks) => hooks.pop(),
        Err(error) => return fail(EXIT_RUNTIME, &error),
    };
    let tls = access.tls();
    let app = match App::new(loaded, &clock, &web.telemetry_path) {
        Ok(app) => app.guarded(access),
        Err(StartError::Setup(error)) => return fail(EXIT_CONFIG, &error.to_string()),
        Err(StartError::Store(error)) => return fail(EXIT_RUNTIME, &error.to_string()),
    };
    let hooks_address = hooks.as_ref().and_then(|listener| listener.local_addr().ok());
    let app = match hooks {
        Some(listener) => app.receiving(listener),
        None => app,
    };
    if let Some(address) = hooks_address {
        tracing::info!(%address, tls, "taking callbacks");
    }
    let addresses: Vec<SocketAddr> = listeners.iter().filter_map(|listener| listener.local_addr().ok()).collect();
    for address in &addresses {
        tracing::info!(version = env!("CARGO_PKG_VERSION"), %address, tls, "listening");
    }
    if let Some(address) = addresses.first().copied() {
        ready(address, tls);
    }
    let stop = CancellationToken::new();
    let reloader = app.site().reloader.clone();
    let running = tokio::spawn(app.run(listeners, stop.clone()));
    tokio::spawn(reload_at(hangup, reloader));
    if !stop_signal().await {
        return ExitCode::from(EXIT_RUNTIME);
    }
    tracing::info!("stopping");
    stop.cancel();
    tokio::select! {
        _ = tokio::time::timeout(STOP_TIME, running) => {}
        _ = stop_signal() => {}
    }
    ExitCode::SUCCESS
}

/// The sockets to serve on, or why there are none.
async fn listen(web: &Web) -> Result<Vec<TcpListener>, String> {
    if web.systemd_socket {
        return systemd_sockets().map_err(|error| format!("--web.systemd-socket: {error}"));
    }
    listen_on(&web.listen).await
}

async fn listen_on(addresses: impl IntoIterator<Item = &ListenAddress>) -> Result<Vec<TcpListener>, String> {
    let mut listeners = Vec::new();
    for address in addresses {
        listeners.push(bind(address).await.map_err(|error| format!("cannot listen on {address}: {error}"))?);
    }
    Ok(listeners)
}

/// What systemd has opened for this process, and for no other.
fn systemd_sockets() -> std::io::Result<Vec<TcpListener>> {
    let ours = std::env::var("LISTEN_PID").is_ok_and(|id| id == std::process::id().to_string());
    let mut sockets = if ours { ListenFd::from_env() } else { ListenFd::empty() };
    let mut listeners = Vec::new();
    for index in 0..sockets.len() {
        if let Some(listener) = sockets.take_tcp_listener(index)? {
            listener.set_nonblocking(true)?;
            listeners.push(TcpListener::from_std(listener)?);
        }
    }
    if listeners.is_empty() {
        return Err(std::io::Error::other("no socket was passed; is the service started by its .socket unit?"));
    }
    Ok(listeners)
}

/// The first address of `address` that can be had: all interfaces over IPv6 where there is IPv6, else over IPv4.
async fn bind(address: &ListenAddress) -> std::io::Result<TcpListener> {
    TcpListener::bind(address.candidates.as_slice()).await
}

async fn stop_signal() -> bool {
    let (Ok(mut terminate), Ok(mut interrupt)) = (signal(SignalKind::terminate()), signal(SignalKind::interrupt()))
    else {
        tracing::error!("signals cannot be received");
        return false;
    };
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    true
}

async fn reload_at(mut hangup: Signal, reloader: Reloader) {
    while hangup.recv().await.is_some() {
        // It is told in the log how it went.
        let _ = reloader.reload().await;
    }
}

/// Asks the exporter on this host how it is, in plain text or else over TLS. Its certificate is not looked at: nothing is
/// told to it, and it carries the name that others know the host by. Where it wants a client's certificate, wanting it is the
/// answer: it has accepted the connection, read its rules and refused, and more the health path would not say.
async fn health(options: &HealthCheck) -> ExitCode {
    let settings = AccountSettings {
        timeout: HEALTH_TIME,
        tls: Tls { insecure_skip_verify: true, ..Tls::default() },
        ..AccountSettings::new("", "")
    };
    let mut hint = "";
    for address in options.listen.reachable() {
        for scheme in ["http", "https"] {
            let Ok(url) = Url::parse(&format!("{scheme}://{address}{HEALTHY}")) else { continue };
            let Ok(client) = Http::new(&settings, "health", Path::new(""), &url) else { continue };
            match tokio::time::timeout(HEALTH_TIME, client.send(&Request::get(url.clone()))).await {
                Ok(Ok(answer)) if answer.status == 200 => return ExitCode::SUCCESS,
                Ok(Ok(answer)) if answer.status == 401 => {
                    hint = "; it wants a password, --web.auth-exempt-health answers health checks without one";
                }
                Ok(Err(_)) if wants_certificate(&client, &url).await => {
                    print(
                        "contact-center-exporter: it serves those who show a certificate, and has just asked for one\n",
                    );
                    return ExitCode::SUCCESS;
                }
                _ => {}
            }
        }
    }
    fail(EXIT_RUNTIME, &format!("no healthy exporter on {}{hint}", options.listen))
}

async fn wants_certificate(client: &Http, url: &Url) -> bool {
    url.scheme() == "https" && tokio::time::timeout(HEALTH_TIME, client.wants_certificate(url)).await == Ok(true)
}

fn start_logs(log: Log) {
    telemetry::install(log.level.into(), log.format);
}

fn print(text: &str) {
    let _ = std::io::stdout().lock().write_all(text.as_bytes());
}

fn fail(code: u8, message: &str) -> ExitCode {
    let _ = writeln!(std::io::stderr().lock(), "contact-center-exporter: {message}");
    ExitCode::from(code)
}
