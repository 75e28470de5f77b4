//! The alarms there are: their words, and what is to be done about each. docs/operations.md says more, under the same words.

use std::fmt;

/// Every alarm there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Alarm {
    /// A run could not go on.
    RunFailed,
    /// A run did not happen.
    RunMissed,
    /// A sweep ended without having seen every contact.
    SweepIncomplete,
    /// No sweep was complete for too long.
    SweepOverdue,
    /// More contacts are gone than a run may act on.
    DeleteCeiling,
    /// A platform does not accept our credentials.
    CredentialsRefused,
    /// Too many contacts are set aside.
    DeadLetters,
    /// The state's disk is nearly full.
    DiskLow,
    /// A platform does not answer, or with nothing but 429.
    PlatformDown,
}

impl Alarm {
    /// Every alarm.
    pub const ALL: [Self; 9] = [
        Self::RunFailed,
        Self::RunMissed,
        Self::SweepIncomplete,
        Self::SweepOverdue,
        Self::DeleteCeiling,
        Self::CredentialsRefused,
        Self::DeadLetters,
        Self::DiskLow,
        Self::PlatformDown,
    ];

    /// The stable word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::RunFailed => "run_failed",
            Self::RunMissed => "run_missed",
            Self::SweepIncomplete => "sweep_incomplete",
            Self::SweepOverdue => "sweep_overdue",
            Self::DeleteCeiling => "delete_ceiling",
            Self::CredentialsRefused => "credentials_refused",
            Self::DeadLetters => "dead_letters",
            Self::DiskLow => "disk_low",
            Self::PlatformDown => "platform_down",
        }
    }

    /// Reads the stable word.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|alarm| alarm.as_str() == word)
    }

    /// What to do about it.
    pub fn remedy(self) -> &'static str {
        match self {
            Self::RunFailed => {
                "the log line of the run names the cause; mend it, then POST /api/runs tries again, as the next \
                 activation does by itself. Where the state is held, `deskferry undo --release` ends that, with the \
                 service stopped"
            }
            Self::RunMissed => {
                "look at /api/status for what is under way and at the log for why it does not end; restarting the \
                 service loses nothing"
            }
            Self::SweepIncomplete => {
                "LiveDesk's list did not show every contact; nothing was deleted because of it. Ask for another sweep \
                 in a quiet hour; if it stays short, `deskferry runs` shows by how much and EngageLab can say why"
            }
            Self::SweepOverdue => {
                "see whether sweeps begin at all ([schedule] sweep), are interrupted, or need more time than \
                 ops.sweep_within: then raise the rate or the limit"
            }
            Self::DeleteCeiling => {
                "nothing was done. Look whether the contacts are really gone from LiveDesk; if they are, stop the service \
                 and run `deskferry backfill --deletes-ceiling N`"
            }
            Self::CredentialsRefused => {
                "renew the key or token of that platform and restart the service; `deskferry check` tries them"
            }
            Self::DeadLetters => {
                "`deskferry status` and the log group them by reason; mend the mapping or the contacts, then \
                 `deskferry retry`"
            }
            Self::DiskLow => {
                "free space on the disk of the state, or move the state; a full disk stops the service without \
                 loss, and it goes on when there is room"
            }
            Self::PlatformDown => {
                "the run waits and goes on by itself; look at the platform's own status, and at network, proxy and \
                 firewall on the way to it"
            }
        }
    }
}

impl fmt::Display for Alarm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
