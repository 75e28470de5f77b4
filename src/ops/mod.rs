//! What the service shows of itself: HTTP for machines and people, metrics, and alarms that come by themselves.
//!
//! Reading order: [`board`] (what the service says it is doing), [`trigger`] (asking it for a run), [`watch`] (what is
//! heard of requests), [`metrics`], [`look`] (all facts at one moment), [`ready`], [`alerts`], [`server`]. It runs
//! nothing and writes nothing but its memory of alarms. Nothing here says who a contact is; ids, counts and reasons only.
//!
//! Everything kept in memory is bounded: nine alarms, two platforms, four runs under way, 64 routes a platform.

pub mod alerts;
pub mod board;
mod disk;
mod guard;
pub mod look;
pub mod metrics;
pub mod ready;
mod routes;
pub mod server;
pub mod trigger;
pub mod watch;

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use serde_json::Value;
use tokio_util::sync::CancellationToken;

use crate::clock::Clock;
use crate::domain::outcome::RunVerdict;
use crate::http::observe::Watch;
use crate::store::{Store, StoreError};

use self::alerts::judge::Limits;
use self::alerts::webhook::Webhook;
use self::alerts::{Alerts, Sender};
use self::board::Board;
use self::look::Looker;
use self::metrics::Metrics;
use self::server::{BindError, Server};
use self::trigger::Trigger;
use self::watch::Watcher;

/// One of the two platforms, as labels and documents name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Platform {
    /// The source.
    LiveDesk,
    /// The target.
    FirstLine,
}

impl Platform {
    /// Both.
    pub const ALL: [Self; 2] = [Self::LiveDesk, Self::FirstLine];

    /// The stable word of labels and keys.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::LiveDesk => "livedesk",
            Self::FirstLine => "firstline",
        }
    }

    /// By the name that a client has in messages.
    pub fn of_client(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|platform| platform.to_string() == name)
    }
}

impl fmt::Display for Platform {
    /// As people write it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::LiveDesk => "LiveDesk",
            Self::FirstLine => "FIRST LINE",
        })
    }
}

/// What one platform may be asked, per second.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Budget {
    /// Which platform.
    pub platform: Platform,
    /// The configured ceiling; 0 is none.
    pub per_second: f64,
}

/// What is set about operations. No `Debug`: it holds the token.
#[derive(Clone)]
pub struct OpsSettings {
    /// Where to listen.
    pub listen: SocketAddr,
    /// Bearer token that requests must carry; required where `listen` is not loopback.
    pub token: Option<String>,
    /// When something is an alarm.
    pub limits: Limits,
    /// The configured ceilings.
    pub budgets: Vec<Budget>,
}

/// The service cannot show itself.
#[derive(Debug, thiserror::Error)]
pub enum OpsError {
    /// The address.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// The state.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// All of it. Clones share everything.
#[derive(Clone)]
pub struct Ops {
    /// What the service says it is doing.
    pub board: Board,
    /// Counters.
    pub metrics: Metrics,
    /// Alarms.
    pub alerts: Arc<Alerts>,
    looker: Arc<Looker>,
    watcher: Arc<Watcher>,
}

impl Ops {
    /// Binds the address, reads the remembered alarms, and gives the parts: what the service tells, the server to run,
    /// and the sender of alarms to run when there is a webhook. `trigger` is the way to what is due.
    pub async fn open(
        settings: OpsSettings,
        store: Store,
        clock: Arc<dyn Clock>,
        trigger: Trigger,
        webhook: Option<Webhook>,
    ) -> Result<(Self, Server, Option<Sender>), OpsError> {
        let listener = server::bind(settings.listen, settings.token.is_some()).await?;
        let board = Board::new(clock.now());
        let metrics = Metrics::new();
        for budget in &settings.budgets {
            metrics.budget(budget.platform, budget.per_second, budget.per_second);
        }
        let looker = Arc::new(Looker::new(store.clone(), board.clone(), Arc::clone(&clock)));
        let (alerts, sender) =
            Alerts::open(settings.limits, store.clone(), metrics.clone(), clock.now(), webhook).await?;
        let watcher = Arc::new(Watcher::new(metrics.clone(), board.clone(), clock));
        let alerts = Arc::new(alerts);
        let shown = routes::Shown {
            board: board.clone(),
            metrics: metrics.clone(),
            trigger,
            alerts: Arc::clone(&alerts),
            looker: Arc::clone(&looker),
            store,
            limits: settings.limits,
        };
        let server = Server::new(listener, settings.token.as_deref(), shown);
        Ok((Self { board, metrics, alerts, looker, watcher }, server, sender))
    }

    /// Who watches the requests of this process; goes into the platforms' clients.
    pub fn watch(&self) -> Arc<dyn Watch> {
        Arc::<Watcher>::clone(&self.watcher)
    }

    /// A run is over; `counts` are those that the state keeps.
    pub fn run_ended(&self, name: &str, verdict: RunVerdict, counts: &Value) {
        self.board.ran(name, self.looker.now());
        self.metrics.run_ended(name, verdict, counts);
    }

    /// Looks at everything and judges it: after each run, and once a minute.
    pub async fn tick(&self) {
        let facts = self.looker.look().await;
        self.alerts.tick(&facts).await;
    }
}

/// Serves until `stop`, then lets requests under way end. For a caller that wants no part of its own.
pub async fn serve(server: Server, sender: Option<Sender>, stop: CancellationToken) -> std::io::Result<()> {
    let deliver = async {
        if let Some(sender) = sender {
            sender.run(stop.clone()).await;
        }
    };
    tokio::join!(server.run(stop.clone()), deliver).0
}

/// A moment in the form of RFC 3339, to the second.
pub(crate) fn moment(at: crate::clock::Timestamp) -> String {
    jiff::Timestamp::from_second(at.0.div_euclid(1000)).map_or_else(|_| String::from("?"), |at| at.to_string())
}
