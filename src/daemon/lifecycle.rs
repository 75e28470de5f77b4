//! What the service manager is told (systemd): ready, what is being done, alive, stopping. Without one, nothing.

use std::time::Duration;

use sd_notify::NotifyState;

/// How often the loop shows that it turns, at most.
const BEAT: Duration = Duration::from_secs(5);

/// The line to the service manager.
#[derive(Debug)]
pub(super) struct Manager {
    status: String,
    watched: bool,
    beat: Duration,
    stopping: bool,
}

impl Manager {
    /// Reads what the manager asks for from the environment.
    pub(super) fn from_environment() -> Self {
        let limit = sd_notify::watchdog_enabled();
        // Half of what it allows, so that one late beat is no death.
        let beat = limit.map_or(BEAT, |limit| (limit / 2).clamp(Duration::from_millis(50), BEAT));
        Self { status: String::new(), watched: limit.is_some(), beat, stopping: false }
    }

    /// How often to beat.
    pub(super) fn interval(&self) -> Duration {
        self.beat
    }

    /// The loop turns, and this is what it does.
    pub(super) fn beat(&mut self, status: String) {
        if self.watched {
            tell(&[NotifyState::Watchdog]);
        }
        if self.status != status {
            tell(&[NotifyState::Status(&status)]);
            self.status = status;
        }
    }

    /// The service was asked to end, and may need this long. Told once.
    pub(super) fn stopping(&mut self, drain: Duration) {
        if !std::mem::replace(&mut self.stopping, true) {
            let drain = u32::try_from(drain.as_micros()).unwrap_or(u32::MAX);
            tell(&[NotifyState::Stopping, NotifyState::ExtendTimeoutUsec(drain)]);
        }
    }
}

/// The service is up.
pub(super) fn ready() {
    tell(&[NotifyState::Ready]);
}

/// A manager that cannot be told is no reason to stop working.
fn tell(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        tracing::warn!(%error, "the service manager could not be told");
    }
}
