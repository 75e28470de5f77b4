//! SIGINT and SIGTERM: the first asks to finish what is in flight, the second ends at once. SIGHUP, of a terminal that was
//! closed, asks as the first does and never ends at once: a shell and the kernel send several of them.

use std::fs;
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
        // Who starts a program with `nohup` wants it to outlive the terminal.
        let hangup = if is_ignored(SignalKind::hangup()) { None } else { Some(signal(SignalKind::hangup())?) };
        if let Some(mut hangup) = hangup {
            let stop = stop.clone();
            listener.spawn(async move {
                while hangup.recv().await.is_some() {
                    ask_to_stop(&stop);
                }
            });
        }
        listener.spawn(async move {
            loop {
                next(&mut interrupt, &mut terminate).await;
                sender.send_modify(|count| *count += 1);
                ask_to_stop(&first);
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

fn ask_to_stop(stop: &CancellationToken) {
    if !stop.is_cancelled() {
        note("interrupted: finishing what is in flight; a second signal ends at once");
        stop.cancel();
    }
}

async fn next(interrupt: &mut Signal, terminate: &mut Signal) {
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
}

/// Whether whoever started this process had the signal ignored. Where the system does not tell, it is not.
fn is_ignored(signal: SignalKind) -> bool {
    fs::read_to_string("/proc/self/status").is_ok_and(|status| ignores(&status, signal))
}

/// The same, by what Linux says of a process: a mask of which bit 0 is signal 1.
fn ignores(status: &str, signal: SignalKind) -> bool {
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or_default();
    mask >> (signal.as_raw_value() - 1) & 1 == 1
}

#[cfg(test)]
mod tests {
    use tokio::signal::unix::SignalKind;

    use super::ignores;

    #[test]
    fn what_nohup_said_is_read_from_the_mask() {
        let status = |mask: &str| format!("Name:\tdeskferry\nSigBlk:\t0000000000000001\nSigIgn:\t{mask}\n");
        assert!(ignores(&status("0000000000001001"), SignalKind::hangup()));
        assert!(!ignores(&status("0000000000001000"), SignalKind::hangup()));
        assert!(!ignores("Name:\tdeskferry\n", SignalKind::hangup()));
    }
}
