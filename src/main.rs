//! Start-up order and exit codes; everything else is the library's.

use std::io::Write as _;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Duration;

use bytes::Bytes;
use clap::Parser as _;
use contact_center_exporter::app::{App, StartError};
use contact_center_exporter::cli::{
    self, Cli, Command, Demo, EXIT_CONFIG, EXIT_RUNTIME, HealthCheck, ListenAddress, Log, PlanFormat, Serve, Web,
};
use contact_center_exporter::clock::Clock;
use contact_center_exporter::config::ConfigError;
use contact_center_exporter::web::Reloader;
use contact_center_exporter::{config, demo, telemetry};
use http_body_util::Empty;
use hyper_util::client::legacy;
use hyper_util::rt::TokioExecutor;
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// Time for everything to end once the stop signal came.
const STOP_TIME: Duration = Duration::from_millis(4800);

fn main() -> ExitCode {
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
    run(&loaded, Clock::system(), options.web, |_| {}).await
}

async fn run_demo(options: Demo) -> ExitCode {
    start_logs(options.log);
    let demo = match demo::Stage::new(options.speed, options.chaos).await {
        Ok(demo) => demo,
        Err(error) => return fail(EXIT_RUNTIME, &format!("the demo cannot start: {error:#}")),
    };
    let path = options.web.telemetry_path.clone();
    run(demo.loaded(), demo.clock(), options.web, |address| print(&demo.greeting(address, &path))).await
}

/// Binds, starts and waits for the stop signal.
async fn run(loaded: &config::Loaded, clock: Clock, web: Web, ready: impl FnOnce(SocketAddr)) -> ExitCode {
    // Before anything takes time: without a listener for it, SIGHUP would end the program.
    let Ok(hangup) = signal(SignalKind::hangup()) else {
        return fail(EXIT_RUNTIME, "signals cannot be received");
    };
    let mut listeners = Vec::new();
    for address in &web.listen {
        match bind(address).await {
            Ok(listener) => listeners.push(listener),
            Err(error) => return fail(EXIT_RUNTIME, &format!("cannot listen on {address}: {error}")),
        }
    }
    let app = match App::new(loaded, &clock, &web.telemetry_path) {
        Ok(app) => app,
        Err(StartError::Setup(error)) => return fail(EXIT_CONFIG, &error.to_string()),
        Err(StartError::Store(error)) => return fail(EXIT_RUNTIME, &error.to_string()),
    };
    let addresses: Vec<SocketAddr> = listeners.iter().filter_map(|listener| listener.local_addr().ok()).collect();
    for address in &addresses {
        tracing::info!(version = env!("CARGO_PKG_VERSION"), %address, "listening");
    }
    if let Some(address) = addresses.first().copied() {
        ready(address);
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

/// Asks the exporter on this host how it is.
async fn health(options: &HealthCheck) -> ExitCode {
    let client = legacy::Client::builder(TokioExecutor::new()).build_http::<Empty<Bytes>>();
    for address in options.listen.reachable() {
        let Ok(url) = format!("http://{address}/-/healthy").parse() else { continue };
        let answer = tokio::time::timeout(Duration::from_secs(5), client.get(url)).await;
        if answer.is_ok_and(|answer| answer.is_ok_and(|answer| answer.status().is_success())) {
            return ExitCode::SUCCESS;
        }
    }
    fail(EXIT_RUNTIME, &format!("no healthy exporter on {}", options.listen))
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
