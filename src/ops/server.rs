//! The listening side: an address, connections that are few and short, and a stop that waits for nobody slow.
//!
//! A connection carries one request (see `guard`) and lives for `Bounds::life` at most, whatever it does or
//! fails to do: headers that trickle in, a body that never comes, an answer that is not read.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::serve::Listener;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, Sleep, sleep};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

use super::guard::Guard;
use super::routes::{self, Shown};

/// Limit of an answer.
pub(super) const PATIENCE: Duration = Duration::from_secs(8);
/// What connections may take.
#[derive(Clone, Copy, Debug)]
struct Bounds {
    /// Limit of a connection.
    life: Duration,
    /// What is left of it once the service stops.
    last_words: Duration,
    /// Connections at once; further ones wait in the system's queue.
    connections: usize,
}

impl Default for Bounds {
    fn default() -> Self {
        Self { life: Duration::from_secs(15), last_words: Duration::from_secs(1), connections: 64 }
    }
}

/// Nobody can listen there.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// Somebody listens there already.
    #[error(
        "{listen} is in use, perhaps by another deskferry; stop that one, or set ops.listen to another port (0 takes a \
         free one)"
    )]
    InUse {
        /// The address.
        listen: SocketAddr,
    },
    /// The network would see everything.
    #[error("{listen} is open to the network and there is no token; set ops.token_file, or listen on 127.0.0.1")]
    Open {
        /// The address.
        listen: SocketAddr,
    },
    /// It cannot be used for another reason.
    #[error(
        "cannot listen on {listen}: check that it is an address of this machine and that this user may use the port"
    )]
    Other {
        /// The address.
        listen: SocketAddr,
        /// The cause.
        #[source]
        source: io::Error,
    },
}

/// Takes the address.
pub(super) async fn bind(listen: SocketAddr, has_token: bool) -> Result<TcpListener, BindError> {
    if !listen.ip().is_loopback() && !has_token {
        return Err(BindError::Open { listen });
    }
    TcpListener::bind(listen).await.map_err(|source| match source.kind() {
        io::ErrorKind::AddrInUse => BindError::InUse { listen },
        _ => BindError::Other { listen, source },
    })
}

/// The server, bound and not yet serving.
pub struct Server {
    listener: TcpListener,
    router: axum::Router,
    bounds: Bounds,
}

impl Server {
    pub(super) fn new(listener: TcpListener, token: Option<&str>, shown: Shown) -> Self {
        let loopback = listener.local_addr().is_ok_and(|address| address.ip().is_loopback());
        Self { listener, router: routes::router(shown, Guard::new(token, loopback)), bounds: Bounds::default() }
    }

    /// Where it listens: the port that was given for 0.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Serves until `stop`, and lets requests under way end.
    pub async fn run(self, stop: CancellationToken) -> io::Result<()> {
        if let Ok(address) = self.listener.local_addr() {
            tracing::info!(%address, "listening for operators");
        }
        let door = Door {
            listener: self.listener,
            places: Arc::new(Semaphore::new(self.bounds.connections)),
            bounds: self.bounds,
            stop: stop.clone(),
        };
        axum::serve(door, self.router).with_graceful_shutdown(stop.cancelled_owned()).await
    }
}

/// Lets connections in while there is room.
struct Door {
    listener: TcpListener,
    places: Arc<Semaphore>,
    bounds: Bounds,
    stop: CancellationToken,
}

impl Listener for Door {
    type Io = Connection;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Connection, SocketAddr) {
        // Never closed, so there is always a permit in the end.
        let place = Arc::clone(&self.places).acquire_owned().await.ok();
        let (stream, address) = Listener::accept(&mut self.listener).await;
        let connection = Connection {
            stream,
            deadline: Box::pin(sleep(self.bounds.life)),
            last_words: self.bounds.last_words,
            stopping: Some(Box::pin(self.stop.clone().cancelled_owned())),
            _place: place,
        };
        (connection, address)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

/// A connection with an end.
struct Connection {
    stream: TcpStream,
    deadline: Pin<Box<Sleep>>,
    last_words: Duration,
    stopping: Option<Pin<Box<WaitForCancellationFutureOwned>>>,
    _place: Option<OwnedSemaphorePermit>,
}

impl Connection {
    fn in_time(&mut self, context: &mut Context<'_>) -> io::Result<()> {
        if let Some(stopping) = &mut self.stopping
            && stopping.as_mut().poll(context).is_ready()
        {
            self.stopping = None;
            let end = self.deadline.deadline().min(Instant::now() + self.last_words);
            self.deadline.as_mut().reset(end);
        }
        match self.deadline.as_mut().poll(context) {
            Poll::Ready(()) => Err(io::ErrorKind::TimedOut.into()),
            Poll::Pending => Ok(()),
        }
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.in_time(context)?;
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.in_time(context)?;
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.in_time(context)?;
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;
    use std::time::Duration;

    use axum::Router;
    use axum::routing::get;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpStream;
    use tokio::task::JoinSet;
    use tokio_util::sync::CancellationToken;

    use super::{Bounds, Server, bind};

    const LONG: Duration = Duration::from_hours(1);

    /// A server with these bounds, running.
    async fn serving(bounds: Bounds) -> (SocketAddr, CancellationToken, JoinSet<std::io::Result<()>>) {
        let listener = bind(([127, 0, 0, 1], 0).into(), false).await.unwrap();
        let router = Router::new().route("/", get(async || ([("connection", "close")], "here")));
        let server = Server { listener, router, bounds };
        let (address, stop, mut tasks) = (server.local_addr().unwrap(), CancellationToken::new(), JoinSet::new());
        tasks.spawn(server.run(stop.clone()));
        (address, stop, tasks)
    }

    async fn said(address: SocketAddr, request: &str) -> (TcpStream, String) {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        // A connection that was cut may say so; what it sent before counts.
        let _cut = stream.read_to_end(&mut answer).await;
        (stream, String::from_utf8(answer).unwrap())
    }

    const WHOLE: &str = "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n";

    #[tokio::test]
    async fn a_client_that_never_ends_its_request_is_hung_up_on() {
        let bounds = Bounds { life: Duration::from_millis(40), ..Bounds::default() };
        let (address, _stop, _tasks) = serving(bounds).await;
        for half in ["", "GET / HTTP/1.1\r\nHost: loc"] {
            assert!(!said(address, half).await.1.contains("here"), "{half}");
        }
    }

    #[tokio::test]
    async fn who_finds_no_place_waits_until_somebody_leaves() {
        let (address, _stop, _tasks) = serving(Bounds { life: LONG, connections: 1, ..Bounds::default() }).await;
        let silent = TcpStream::connect(address).await.unwrap();
        let mut waiting = Box::pin(said(address, WHOLE));
        let early = tokio::time::timeout(Duration::from_millis(30), waiting.as_mut()).await;
        assert!(early.is_err(), "there was a second place");
        drop(silent);
        assert!(waiting.await.1.ends_with("here"));
    }

    #[tokio::test]
    async fn a_stop_does_not_wait_for_a_silent_client() {
        let bounds = Bounds { life: LONG, last_words: Duration::from_millis(10), ..Bounds::default() };
        let (address, stop, mut tasks) = serving(bounds).await;
        let _silent = TcpStream::connect(address).await.unwrap();
        // Connections are taken in their order: once this one was answered, the silent one is in.
        assert!(said(address, WHOLE).await.1.ends_with("here"));
        stop.cancel();
        tasks.join_next().await.unwrap().unwrap().unwrap();
    }
}
