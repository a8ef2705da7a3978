//! Health, metrics and the status page, on a thread of their own.
//!
//! The thread has its own runtime: a pipeline that is busy, or hangs, never makes a probe fail by
//! taking the processor's time, only by what the [`Status`] says.
//!
//! What is answered is made of the status alone. Nothing of a request is echoed, no request
//! changes anything, and no body is read. A connection serves one request and is closed; its
//! headers, its time and the number of connections have a maximum.

mod auth;
mod page;
mod routes;
mod streams;
#[cfg(test)]
mod tests;

use std::fmt;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};

use crate::config::HttpAuth;
use crate::config::effective::Entry;
use crate::metrics::Metrics;
use crate::status::Status;

use self::streams::Streams;

/// Connections served at the same time; more wait in the listener's queue. Probes, two scrapers
/// and a few browsers need ten.
const CONNECTIONS_MAX: usize = 64;

/// Bytes of a request's line and headers; a browser with many cookies sends 8 KiB.
const HEAD_MAX: usize = 16 * 1024;

/// Headers of a request.
const HEADERS_MAX: usize = 64;

/// For a request's line and headers to arrive. Short, so that clients that send nothing cannot
/// keep the probes out for long.
const HEAD_TIMEOUT: Duration = Duration::from_secs(3);

/// For a whole connection, including a slow reader of the answer.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(15);

/// How often what the histogram recorded is put into its buckets, and the last hour goes on.
const UPKEEP_EVERY: Duration = Duration::from_secs(1);

/// After a failed `accept`, most likely for want of file descriptors.
const ACCEPT_AGAIN_AFTER: Duration = Duration::from_millis(250);

/// Why the server could not be started.
#[derive(Debug)]
pub struct HttpError {
    addr: SocketAddr,
    what: &'static str,
    source: io::Error,
}

impl fmt::Display for HttpError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { addr, what, source } = self;
        write!(f, "WALPOST_HTTP_ADDR={addr}: cannot {what}: {source}")?;
        let kind = source.kind();
        f.write_str(if kind == io::ErrorKind::AddrInUse {
            "; another process listens there: set another port, or `off` to do without"
        } else if kind == io::ErrorKind::AddrNotAvailable {
            "; no interface has this address: set 127.0.0.1, or 0.0.0.0 for all"
        } else if kind == io::ErrorKind::PermissionDenied {
            "; ports below 1024 need a privilege: set another port"
        } else {
            "; set another address, or `off` to do without"
        })
    }
}

impl std::error::Error for HttpError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.source)
    }
}

/// The running server; dropping it stops it and waits for its thread.
#[derive(Debug)]
pub struct HttpServer {
    local_addr: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl HttpServer {
    /// Where it listens: the port that the system chose, if port 0 was asked for.
    #[must_use]
    pub const fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }
}

impl Drop for HttpServer {
    fn drop(&mut self) {
        // The thread ends when the sender is gone, and takes its connections with it.
        drop(self.stop.take());
        let ended = self.thread.take().map(JoinHandle::join);
        if let Some(Err(_)) = ended {
            tracing::warn!("the http thread ended with a panic");
        }
    }
}

/// Starts to listen at `addr` and to serve these streams, in the order of their numbers, on a thread
/// of its own.
///
/// `auth`, where given, is asked for at `/` and `/status.json`; probes and metrics are open. Both
/// show `configuration`, in which no secret is. Keep
/// the server until the process ends: it also empties the latency histogram of `metrics`.
///
/// # Errors
///
/// Where the address cannot be listened at, or a thread cannot be made. The message names
/// `WALPOST_HTTP_ADDR` and what to do.
pub fn serve(
    addr: SocketAddr,
    streams: Vec<(Status, Metrics)>,
    (auth, configuration): (Option<&HttpAuth>, Vec<Entry>),
) -> Result<HttpServer, HttpError> {
    let failed = |what| move |source| HttpError { addr, what, source };
    let listener = TcpListener::bind(addr).map_err(failed("listen"))?;
    listener.set_nonblocking(true).map_err(failed("listen"))?;
    let local_addr = listener.local_addr().map_err(failed("listen"))?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(failed("start a runtime"))?;
    let listener = {
        let _entered = runtime.enter();
        tokio::net::TcpListener::from_std(listener).map_err(failed("listen"))?
    };
    let streams = Streams::new(streams);
    streams.upkeep();
    let router = routes::router(streams.clone(), (auth, configuration));
    let (stop, stopped) = oneshot::channel();
    let thread = std::thread::Builder::new()
        .name("http".to_owned())
        .spawn(move || runtime.block_on(run(listener, router, streams, stopped)))
        .map_err(failed("start a thread"))?;
    Ok(HttpServer { local_addr, stop: Some(stop), thread: Some(thread) })
}

/// Accepts until the server is dropped.
async fn run(
    listener: tokio::net::TcpListener,
    router: Router,
    streams: Streams,
    stopped: oneshot::Receiver<()>,
) {
    let mut upkeep = interval(UPKEEP_EVERY);
    upkeep.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let accepting = async {
        let slots = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        // The semaphore is never closed, so waiting for a permit ends only with one.
        while let Ok(slot) = Arc::clone(&slots).acquire_owned().await {
            match listener.accept().await {
                Ok((stream, _)) => {
                    tokio::spawn(connection(stream, router.clone(), slot));
                }
                Err(error) => {
                    tracing::warn!(%error, "cannot accept an http connection");
                    sleep(ACCEPT_AGAIN_AFTER).await;
                }
            }
        }
    };
    let keeping_up = async {
        loop {
            upkeep.tick().await;
            streams.upkeep();
        }
    };
    tokio::select! {
        // Whatever it resolves to, the server was dropped.
        _ = stopped => {}
        () = accepting => {}
        () = keeping_up => {}
    }
}

/// Serves one request.
async fn connection(stream: TcpStream, router: Router, slot: OwnedSemaphorePermit) {
    let serving = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(HEAD_MAX)
        .max_headers(HEADERS_MAX)
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    match timeout(CONNECTION_TIMEOUT, serving).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(%error, "http connection failed"),
        Err(_) => tracing::debug!("http connection took too long"),
    }
    drop(slot);
}
