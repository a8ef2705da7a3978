//! `walpost run`: the relay, from configuration to exit code.

use std::future::Future;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;

use super::{Exit, output};
use crate::config::env::Environment;
use crate::config::{Config, Delivery, Loaded, LogFormat};
use crate::http;
use crate::metrics::{ConfigInfo, Metrics};
use crate::status::Status;
use crate::supervisor::{Ended, Supervisor};

mod streams;

use streams::Stream;

/// Runs until a signal, and drains.
#[must_use]
pub fn run(environment: Environment) -> Exit {
    let loaded = match Config::load(&environment) {
        Ok(loaded) => loaded,
        Err(invalid) => {
            output::error(&invalid.to_string());
            return Exit::Configuration;
        }
    };
    start_log(&loaded.config);
    let configuration = loaded.entries();
    let Loaded { config, warnings, .. } = loaded;
    for warning in warnings {
        tracing::warn!("{warning}");
    }
    let streams: Vec<_> = config.streams().into_iter().map(told).collect();
    let _server = match &config.http_addr {
        Some(addr) => {
            let shown = (config.http_auth.as_ref(), configuration);
            let served = streams.iter().map(|(_, served)| served.clone()).collect();
            match http::serve(*addr, served, shown) {
                Ok(server) => Some(server),
                Err(error) => {
                    output::error(&format!("walpost: {error}"));
                    return Exit::Failed;
                }
            }
        }
        None => None,
    };
    // One thread for a stream: the pipeline is one task, and what waits beside it waits for sockets.
    match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => {
            let exit = runtime.block_on(Box::pin(relay(&config, environment, streams)));
            // A thread that asks a broker that does not answer must not hold up the end.
            runtime.shutdown_background();
            exit
        }
        Err(error) => {
            output::error(&format!("walpost: the runtime cannot start: {error}"));
            Exit::Failed
        }
    }
}

/// A stream, and where it tells how it goes.
fn told(config: Config) -> Stream {
    let status = Status::new(&config.name, &config.slot);
    let info = ConfigInfo {
        slot: config.slot.clone(),
        publication: config.publication.clone(),
        database: config.database.database.clone(),
        delivery: match config.delivery {
            Delivery::AtLeastOnce => "at-least-once".to_owned(),
            Delivery::ExactlyOnce => "exactly-once".to_owned(),
        },
        shard: config.shard.map(|shard| shard.index),
    };
    let metrics = Metrics::new(&status, &info);
    (config, (status, metrics))
}

fn start_log(config: &Config) {
    use std::io::IsTerminal as _;
    use tracing_subscriber::EnvFilter;
    let text = match config.log_format {
        Some(format) => format == LogFormat::Text,
        None => std::io::stderr().is_terminal(),
    };
    let builder = tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_env_filter(EnvFilter::new(&config.log));
    let started = if text { builder.try_init() } else { builder.json().try_init() };
    if let Err(error) = started {
        output::error(&format!("walpost: the log cannot start: {error}"));
    }
}

async fn relay(config: &Config, environment: Environment, mut streams: Vec<Stream>) -> Exit {
    let signals = (signal(SignalKind::terminate()), signal(SignalKind::interrupt()));
    let (Ok(mut terminate), Ok(mut interrupt)) = signals else {
        output::error("walpost: signals cannot be received");
        return Exit::Failed;
    };
    // One stream is not spoken of.
    let shards = (config.shards > 1).then_some(config.shards);
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        name = config.name,
        database = config.database.database,
        slot = config.slot,
        shards,
        kafka = config.kafka.bootstrap_servers,
        "walpost starts"
    );
    let (drain, drained) = watch::channel(false);
    let statuses: Vec<_> = streams.iter().map(|(_, (status, _))| status.clone()).collect();
    let signals = (&mut terminate, &mut interrupt);
    let ended = match streams.pop() {
        Some((config, told)) if streams.is_empty() => {
            let load = streams::loader(environment, (config.shards, config.shard_index()));
            let supervisor = Supervisor::new(config, load, told);
            statuses.iter().for_each(Status::tasks_started);
            until_signalled(Box::pin(supervisor.run(drained)), &drain, signals).await
        }
        last => {
            streams.extend(last);
            let work = match streams::start(streams, &environment, &drained) {
                Ok(work) => work,
                Err(error) => {
                    output::error(&format!("walpost: a thread of a shard cannot start: {error}"));
                    return Exit::Failed;
                }
            };
            statuses.iter().for_each(Status::tasks_started);
            let ended = until_signalled(Box::pin(work), &drain, signals).await;
            ended.map(|ended| streams::together(&ended))
        }
    };
    match ended {
        Ok(Ended::Drained) => {
            tracing::info!("drained: a restart repeats nothing");
            Exit::Done
        }
        Ok(Ended::SnapshotInterrupted) => {
            tracing::warn!("stopped; the next start begins the snapshot again");
            Exit::Done
        }
        Ok(Ended::Unsettled(events)) => {
            tracing::error!(
                events,
                "WALPOST_SHUTDOWN_TIMEOUT passed before kafka confirmed everything; so many events will be sent again"
            );
            Exit::Failed
        }
        Err(signal) => {
            tracing::error!(
                "a second signal ended the drain; what was in flight will be sent again"
            );
            Exit::Signal(signal)
        }
    }
}

/// Waits for the work; the first signal begins the drain, the second one ends everything.
async fn until_signalled<T>(
    mut work: impl Future<Output = T> + Unpin,
    drain: &watch::Sender<bool>,
    (terminate, interrupt): (&mut Signal, &mut Signal),
) -> Result<T, u8> {
    const SIGINT: u8 = 2;
    const SIGTERM: u8 = 15;
    let mut signals = 0_u8;
    loop {
        let number = tokio::select! {
            done = &mut work => return Ok(done),
            _ = terminate.recv() => SIGTERM,
            _ = interrupt.recv() => SIGINT,
        };
        signals += 1;
        if signals > 1 {
            return Err(number);
        }
        tracing::info!(signal = number, "a signal came: draining");
        drain.send_replace(true);
    }
}
