//! One life of the service: its settings as an operator would write them, its two platforms, its disk.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use deskferry::app::{self, Budgets, Sides, Surroundings};
use deskferry::clock::Clock;
use deskferry::config::load::{self, Loaded};
use deskferry::config::settings::I_UNDERSTAND;
use deskferry::daemon::Service;
use deskferry::domain::causes::with_causes;
use deskferry::store::{Store, StoreError};
use deskferry::sync::progress::Silent;
use sqlx::{Connection, SqliteConnection};
use tokio_util::sync::CancellationToken;

use super::absent::MARK_TAG;
use super::alarms::DEAD_LETTERS_ABOVE;
use super::desk::Desk;
use super::line::Line;
use super::world::{Ceiling, Deletes, Switches, World};

const MAPPING: &str = r#"
[select]
when = "not blocked"
[contact]
first_name = "name"
birth_at = { value = "custom_attributes.birthday | date", on_error = "reject" }
[[cz_cols]]
id = 32
value = "custom_attributes.vip"
owner = "source"
[[cz_cols]]
id = 33
value = "custom_attributes.city"
owner = "fill_blank"
[[cz_cols]]
id = 34
value = "custom_attributes.note"
owner = "target"
[[cz_cols]]
id = 35
value = "custom_attributes.interests"
owner = "union"
[[cz_cols]]
id = 36
value = "custom_attributes.topic"
[[emails]]
value = "email"
[[phones]]
value = "phone_number"
type = "mobile"
[[tags]]
label = "vip"
tag = "VIP"
owner = "source"
"#;

/// The state's disk.
const DISK: &str = "size=24m";

/// Both platforms, behind the ports.
pub(super) struct Pair {
    world: Arc<World>,
    desk: Arc<Desk>,
    line: Arc<Line>,
}

impl Sides for Pair {
    type Source = Desk;
    type Target = Line;

    fn source(&self) -> &Arc<Desk> {
        &self.desk
    }

    fn target(&self) -> &Arc<Line> {
        &self.line
    }

    fn requests(&self) -> (u64, u64) {
        (self.world.now().requests, 0)
    }

    fn paces(&self) -> (app::PaceView, app::PaceView) {
        let none = app::PaceView { ceiling: None, current: None };
        (none, none)
    }

    async fn before_run(&self, _store: &Store) -> Result<(), StoreError> {
        Ok(())
    }

    async fn remember(&self, _store: &Store) -> Result<(), StoreError> {
        Ok(())
    }
}

/// Where a month lives: a small disk of its own where this user may mount one.
pub(super) struct Home {
    folder: tempfile::TempDir,
    mounted: bool,
    loaded: Loaded,
}

impl Home {
    pub(super) fn new(switches: &Switches) -> Self {
        let memory = Path::new("/dev/shm");
        let folder = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() };
        let folder = folder.unwrap();
        let mounted = command("mount", &["-t", "tmpfs", "-o", DISK, "tmpfs", folder.path().to_str().unwrap()]);
        let file = folder.path().join("deskferry.toml");
        std::fs::write(folder.path().join("mapping.toml"), MAPPING).unwrap();
        std::fs::write(&file, settings(switches)).unwrap();
        let loaded = load::load(&file, std::iter::empty()).unwrap_or_else(|problems| panic!("{problems}"));
        Self { folder, mounted, loaded }
    }

    pub(super) fn has_disk(&self) -> bool {
        self.mounted
    }

    pub(super) fn state(&self) -> PathBuf {
        self.loaded.settings.state.path.clone()
    }

    /// A state whose hashes are the same each time, so that nothing that is ordered by them differs.
    pub(super) async fn prepare(&self, clock: Arc<dyn Clock>) {
        app::open_state(&self.loaded.settings, "month", clock).await.unwrap().close().await;
        let mut state = self.connect().await;
        sqlx::query("UPDATE account SET hash_key = ?1").bind([7_u8; 32].as_slice()).execute(&mut state).await.unwrap();
        state.close().await.unwrap();
    }

    async fn connect(&self) -> SqliteConnection {
        SqliteConnection::connect(self.state().to_str().unwrap()).await.unwrap()
    }

    /// A life begins. The error says why not.
    pub(super) async fn begin(&self, world: &Arc<World>, stop: &CancellationToken) -> Result<Service<Pair>, String> {
        let clock = Arc::new(world.clock.clone());
        let around = Surroundings {
            clock: Arc::clone(&clock) as Arc<dyn Clock>,
            progress: Arc::new(Silent),
            stop: stop.clone(),
            no_wait: false,
            budgets: Budgets::default(),
            requests: None,
            leaves_doubts: true,
        };
        let store =
            app::open_state(&self.loaded.settings, "month", clock).await.map_err(|error| with_causes(&error))?;
        let pair = Pair {
            world: Arc::clone(world),
            desk: Arc::new(Desk(Arc::clone(world))),
            line: Arc::new(Line(Arc::clone(world))),
        };
        let service = Service::over(self.loaded.clone(), store, around, |_, _, around| {
            world.begin_process(around.requests.as_deref());
            Ok(pair)
        });
        let service = service.await.map_err(|error| with_causes(&error))?;
        service.catch_up().await.map_err(|error| with_causes(&error))?;
        Ok(service)
    }

    /// Nothing more can be written to the disk: what room there was in SQLite's log is given back first, so that the next
    /// write needs some.
    pub(super) async fn fill(&self) {
        use std::io::Write;
        let mut state = self.connect().await;
        sqlx::query("PRAGMA wal_checkpoint(TRUNCATE)").execute(&mut state).await.unwrap();
        let mut ballast = std::fs::File::create(self.folder.path().join("ballast")).unwrap();
        let mut size = 1 << 20;
        while size > 0 {
            if ballast.write_all(&vec![0; size]).is_err() {
                size /= 2;
            }
        }
        let _closed = state.close().await;
    }

    pub(super) fn empty(&self) {
        let _was_not_full = std::fs::remove_file(self.folder.path().join("ballast"));
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        if self.mounted {
            command("umount", &["-l", self.folder.path().to_str().unwrap()]);
        }
    }
}

fn command(program: &str, args: &[&str]) -> bool {
    std::process::Command::new(program).args(args).output().is_ok_and(|output| output.status.success())
}

fn settings(switches: &Switches) -> String {
    let stamp = match (switches.stamp_number, switches.stamp_column) {
        (true, true) => "{ membership_no = \"LD-\", cz_col = 31 }",
        (true, false) => "{ membership_no = \"LD-\" }",
        (false, _) => "{ cz_col = 31 }",
    };
    let policy = match switches.deletes {
        Deletes::Ignore => String::from("policy = \"ignore\""),
        Deletes::Tag => format!("policy = \"tag\"\ntag = \"{MARK_TAG}\""),
        Deletes::Field => String::from("policy = \"tag\"\nfield = 37"),
        Deletes::Delete => format!("policy = \"delete\"\ni_understand = \"{I_UNDERSTAND}\""),
    };
    let ceiling = match switches.ceiling {
        Ceiling::Low => "",
        Ceiling::High => "ceiling = 1000\nceiling_percent = 100.0",
    };
    format!(
        r#"mapping = "mapping.toml"
[livedesk]
base_url = "https://desk.example/api/v2/accounts"
api_key = "key"
api_secret = "secret"
[firstline]
base_url = "https://line.example/api/v1"
token = "token"
concurrency = {requests}
[state]
path = "deskferry.db"
[identity]
stamp = {stamp}
settle = "1ms"
id_walk_limit = 5000
[schedule]
sync = "0 */30 * * * *"
sweep = "0 0 */8 * * *"
[deletes]
{policy}
{ceiling}
grace = "{grace}h"
[ops]
listen = "127.0.0.1:0"
dead_letters_above = {DEAD_LETTERS_ABOVE}
disk_low = "2MiB"
"#,
        requests = switches.requests_at_once,
        grace = switches.grace_h,
    )
}
