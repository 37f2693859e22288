//! Logs: logfmt or JSON on standard error, one event one line, of this program alone. Libraries are not heard: at debug
//! level they would print URLs and headers, and a panic's own message may quote what it was reading.

use tracing::Level;
use tracing_subscriber::Layer as _;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt as _;

use crate::cli::LogFormat;

/// Everything that a binary does about logs before anything else.
pub fn install(level: Level, format: LogFormat) {
    let subscriber = subscriber(level, format, std::io::stderr);
    // Fails only when a test has installed another one.
    let _ = tracing::subscriber::set_global_default(subscriber);
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        tracing::error!(place, "panic");
    }));
}

/// The subscriber, writing to `writer`.
pub fn subscriber<W>(level: Level, format: LogFormat, writer: W) -> Box<dyn tracing::Subscriber + Send + Sync>
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let ours = Targets::new().with_target("contact_center_exporter", level);
    let registry = tracing_subscriber::registry();
    match format {
        LogFormat::Logfmt => {
            let layer = tracing_logfmt::builder().with_target(false).layer().with_writer(writer);
            Box::new(registry.with(layer.with_filter(ours)))
        }
        LogFormat::Json => {
            let layer =
                tracing_subscriber::fmt::layer().json().flatten_event(true).with_target(false).with_writer(writer);
            Box::new(registry.with(layer.with_filter(ours)))
        }
    }
}
