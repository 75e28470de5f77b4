//! SIGINT and SIGTERM: the first asks to finish what is in flight, the second ends at once.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::output::note;

/// Listens for as long as it lives.
pub struct Signals {
    stop: CancellationToken,
    count: watch::Receiver<u32>,
    _listener: JoinSet<()>,
}

impl Signals {
    /// Begins to listen.
    pub fn listen() -> io::Result<Self> {
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut terminate = signal(SignalKind::terminate())?;
        let stop = CancellationToken::new();
        let (sender, count) = watch::channel(0);
        let mut listener = JoinSet::new();
        let first = stop.clone();
        listener.spawn(async move {
            loop {
                next(&mut interrupt, &mut terminate).await;
                sender.send_modify(|count| *count += 1);
                if !first.is_cancelled() {
                    note("interrupted: finishing what is in flight; a second signal ends at once");
                    first.cancel();
                }
            }
        });
        Ok(Self { stop, count, _listener: listener })
    }

    /// Cancelled at the first signal.
    pub fn stop(&self) -> CancellationToken {
        self.stop.clone()
    }

    /// Ends at the second signal.
    pub async fn second(&self) {
        let mut count = self.count.clone();
        if count.wait_for(|count| *count >= 2).await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

async fn next(interrupt: &mut Signal, terminate: &mut Signal) {
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
}
