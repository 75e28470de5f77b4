//! Lives through the month: processes that start, run what is due, are killed and start again, on a real state.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use deskferry::clock::Clock;
use deskferry::config::mapping_file::MappingSource;
use deskferry::domain::outcome::SetAsideKind;
use deskferry::domain::phone::Country;
use deskferry::domain::sweep::Verdict;
use deskferry::mapping::compile::compile;
use deskferry::mapping::spec::MappingSpec;
use deskferry::mapping::{CompileContext, Mapping, StampFields};
use deskferry::store::{Access, Accounts, RunResult, Store, StoreError};
use deskferry::sync::absence::DeleteRules;
use deskferry::sync::engine::{Engine, EngineSettings, MatchKey, SharedKeys};
use deskferry::sync::failures::FailurePolicy;
use deskferry::sync::pipeline::{Entrants, Pipeline, RunEnd};
use deskferry::sync::progress::Silent;
use deskferry::sync::stamp::StampScheme;
use deskferry::sync::summary::Summary;
use serde_json::json;
use tokio_util::sync::CancellationToken;

use super::desk::Desk;
use super::judge::Sure;
use super::line::{Line, definitions};
use super::operations::{DAYS, Operation, SWEEP_EVERY_S, SYNC_EVERY_S};
use super::world::{Lane, Switches, World, elapsed_s};

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

/// An import of just a page's contacts between two pages shows the page before again, also when it is read again.
const STUCK: &str = "it is stuck";
/// Sweeps at the end, in good weather, until both sides must agree.
const LAST_SWEEPS: u32 = 8;
/// The state's disk.
const DISK: &str = "size=24m";

/// What is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Sync,
    Sweep,
}

impl Kind {
    /// Which contacts enter.
    fn entrants(self) -> Entrants {
        match self {
            Self::Sync => Entrants::Recent,
            Self::Sweep => Entrants::All,
        }
    }
}

/// A month.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    pub(super) seed: u64,
    pub(super) switches: Switches,
    pub(super) operations: Vec<Operation>,
}

/// What a month came to.
#[derive(Debug, Default)]
pub(super) struct Report {
    pub(super) processes: u32,
    pub(super) kills: u32,
    pub(super) syncs: u32,
    pub(super) sweeps: u32,
    pub(super) proven: u32,
    pub(super) failed: u32,
    pub(super) disk_full: u32,
    pub(super) contacts: usize,
    pub(super) customers: usize,
    pub(super) requests: u64,
    pub(super) latencies: Vec<(Lane, i64)>,
    pub(super) tally: std::collections::BTreeMap<&'static str, u64>,
}

/// How a process ended.
enum Life {
    Over,
    Died,
}

struct Month<'a> {
    plan: &'a Plan,
    world: Arc<World>,
    mapping: Arc<Mapping>,
    state: PathBuf,
    /// Up to when activations were handled, in seconds.
    handled_s: i64,
    /// When the sweep began that was not walked to its end yet.
    sweep_since: Option<i64>,
    /// Whether every run of it had labels and tags.
    sure_of_tags: bool,
    /// The process before was killed, and no run was done since.
    reborn: bool,
    report: Report,
    failure: Option<String>,
}

/// Lives through it. The error says what is wrong.
pub(super) fn simulate(plan: &Plan) -> Result<Report, String> {
    let folder = StateFolder::new();
    let world = World::new(plan.seed, plan.switches, &plan.operations, folder.disk());
    let mut month = Month {
        plan,
        world,
        mapping: mapping(&plan.switches),
        state: folder.path().join("deskferry.db"),
        handled_s: 0,
        sweep_since: None,
        sure_of_tags: true,
        reborn: false,
        report: Report::default(),
        failure: None,
    };
    loop {
        // A process has a runtime of its own, so that a kill leaves nothing of it behind.
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        month.report.processes += 1;
        let life = runtime.block_on(month.live());
        drop(runtime);
        if let Some(failure) = month.failure {
            return Err(failure);
        }
        if matches!(life, Life::Over) {
            break;
        }
    }
    let mut report = month.report;
    let inner = month.world.now();
    report.contacts = inner.people.len();
    report.customers = inner.records.len();
    report.latencies.clone_from(&inner.latencies);
    report.tally.clone_from(&inner.tally);
    report.requests = inner.requests;
    Ok(report)
}

impl Month<'_> {
    async fn live(&mut self) -> Life {
        let access = Access::Exclusive { holder: String::from("month") };
        let clock = Arc::new(self.world.clock.clone());
        let store = match Store::open(&self.state, access, clock).await {
            Ok(store) => store,
            Err(StoreError::DiskFull { .. }) => {
                self.report.disk_full += 1;
                self.world.idle_until(elapsed_s(&self.world.clock) + 600);
                return Life::Died;
            }
            Err(error) => return self.fail(format!("the state cannot be opened: {error:?}")),
        };
        let accounts = Accounts { livedesk: String::from("desk"), firstline: String::from("line") };
        match store.bind_accounts(&accounts).await {
            Ok(()) => {}
            Err(StoreError::DiskFull { .. }) => {
                self.report.disk_full += 1;
                self.world.idle_until(elapsed_s(&self.world.clock) + 600);
                return Life::Died;
            }
            Err(error) => return self.fail(format!("the state cannot be bound: {error:?}")),
        }
        while let Some((at, kind)) = self.next() {
            self.world.idle_until(at);
            self.handled_s = elapsed_s(&self.world.clock).max(at);
            // A service with an empty state begins with everything.
            let kind = if store.is_empty().await.unwrap_or(true) { Kind::Sweep } else { kind };
            if self.activation(&store, kind, kind.entrants()).await.is_none() {
                // It takes a while until somebody starts it again.
                self.world.idle_until(elapsed_s(&self.world.clock) + 30);
                return Life::Died;
            }
            if self.failure.is_some() {
                return Life::Over;
            }
        }
        self.last_sweeps(&store).await;
        store.close().await;
        Life::Over
    }

    fn fail(&mut self, failure: String) -> Life {
        self.failure.get_or_insert(failure);
        Life::Over
    }

    /// What is due next, and when. What was missed is due once.
    fn next(&self) -> Option<(i64, Kind)> {
        let now = elapsed_s(&self.world.clock);
        let after = |every: i64| (self.handled_s / every + 1) * every;
        let (sync, sweep) = (after(SYNC_EVERY_S), after(SWEEP_EVERY_S));
        let (at, kind) = if sweep <= sync || sweep <= now { (sweep, Kind::Sweep) } else { (sync, Kind::Sync) };
        (at.max(now) <= DAYS * 24 * 3600).then_some((at, kind))
    }

    /// One run and what is asked of it; `None` when the process was killed.
    async fn activation(&mut self, store: &Store, kind: Kind, entrants: Entrants) -> Option<RunEnd> {
        let stop = CancellationToken::new();
        self.world.begin_run(&stop);
        let since = self.world.clock.now().0;
        let end = tokio::select! {
            biased;
            () = self.dies(store) => None,
            end = self.run(store, kind, entrants, stop) => Some(end),
        };
        let killed = end.is_none() || self.world.is_dying();
        if killed || !matches!(&end, Some(Ok(RunEnd { failure: None, summary })) if !summary.interrupted) {
            self.world.now().note_unrecorded(since, killed);
        }
        self.world.end_run();
        match kind {
            Kind::Sync => self.report.syncs += 1,
            Kind::Sweep => self.report.sweeps += 1,
        }
        self.world.now().judge_twins();
        let mut wrong = std::mem::take(&mut self.world.now().violations);
        let done = end.as_ref().and_then(|end| end.as_ref().ok());
        let done = done.filter(|end| end.failure.is_none() && !end.summary.interrupted);
        if let Some(Ok(RunEnd { failure: Some(failure), .. })) = &end {
            let text = chain(failure);
            let excused = ["down", "key was refused", "full", STUCK].iter().any(|word| text.contains(word));
            if !excused {
                wrong.push(format!("the {kind:?} failed: {text}"));
            }
        }
        // A sweep that is gone on with does not come by those again whom it has passed without their tags.
        let tags = end.as_ref().and_then(|end| end.as_ref().ok()).map(|end| &end.summary.tags);
        let of_tags = tags.is_some_and(|tags| !tags.is_incomplete() && tags.labels_empty.is_empty());
        let of_tags = of_tags && (self.sweep_since.is_none() || self.sure_of_tags);
        self.sure_of_tags = of_tags;
        let rows = done.iter().flat_map(|end| &end.summary.set_aside_rows);
        let unproven = rows.filter(|row| row.reason.kind == SetAsideKind::Unproven).filter_map(|row| row.id);
        let sure = Sure {
            of_tags,
            of_creates: !std::mem::replace(&mut self.reborn, killed),
            not_of: unproven.map(|id| id.0).collect(),
        };
        self.report.failed += u32::from(done.is_none());
        if kind == Kind::Sweep {
            let since = *self.sweep_since.get_or_insert(since);
            if let Some(end) = done {
                self.sweep_since = None;
                let report = end.summary.sweep.as_ref();
                if report.is_some_and(|report| report.verdict == Verdict::Proven) {
                    self.report.proven += 1;
                    let mut inner = self.world.now();
                    let now = inner.now();
                    wrong.extend(inner.disagreements(since, None, &sure));
                    inner.sweeps.push((since, now));
                }
            }
        // Before everything was carried once, a sync keeps nothing in step.
        } else if done.is_some() && self.report.proven > 0 {
            wrong.extend(self.world.now().disagreements(since, Some(Lane::Sync), &sure));
        }
        if !wrong.is_empty() {
            let minute = (since - super::world::START_MS) / 60_000;
            let wrong: Vec<&str> = wrong.iter().take(5).map(String::as_str).collect();
            let summary = end.as_ref().map(|end| end.as_ref().map(|end| &end.summary));
            let open = store.open_intents().await.unwrap_or_default();
            self.fail(format!(
                "after the {kind:?} at minute {minute} (killed: {killed}):\n  {}\n  {open:?}\n  {summary:?}",
                wrong.join("\n  ")
            ));
        }
        self.report.kills += u32::from(killed);
        if killed {
            None
        } else {
            end.and_then(Result::ok).or(Some(RunEnd { summary: Summary::default(), failure: None }))
        }
    }

    /// The moment of a kill.
    async fn dies(&self, store: &Store) {
        let commits = u64::from(self.world.killed().await);
        let from = store.commits();
        for _ in 0..20_000 {
            if store.commits() >= from + commits {
                return;
            }
            tokio::task::yield_now().await;
        }
    }

    async fn run(
        &self,
        store: &Store,
        kind: Kind,
        entrants: Entrants,
        stop: CancellationToken,
    ) -> Result<RunEnd, StoreError> {
        let switches = &self.plan.switches;
        let run = store.begin_run(&format!("{kind:?}").to_lowercase(), &json!({})).await?;
        let engine = Engine::new(
            Arc::new(Line(Arc::clone(&self.world))),
            store.clone(),
            Arc::clone(&self.mapping),
            scheme(switches),
            settings(switches),
            Arc::new(self.world.clock.clone()) as Arc<dyn Clock>,
            Arc::new(Silent),
            stop,
            run,
        )
        .await?;
        let pipeline = Pipeline::new(Arc::new(Desk(Arc::clone(&self.world))), Arc::new(engine), 4)
            .with_overlap(Duration::from_mins(10));
        let end = match pipeline.preflight(&entrants).await {
            Ok(_) => pipeline.run(entrants).await,
            Err(error) => RunEnd { summary: Summary::default(), failure: Some(error) },
        };
        let result = RunResult { exit_code: i32::from(end.summary.exit_code()), verdict: None, counts: json!({}) };
        store.finish_run(run, result).await?;
        Ok(end)
    }

    /// The month is over and nothing goes wrong any more: both sides come to agree, and then there is nothing to do.
    async fn last_sweeps(&mut self, store: &Store) {
        self.world.now().calm();
        let mut quiet = false;
        for _ in 0..LAST_SWEEPS {
            self.world.idle_until(elapsed_s(&self.world.clock) + 3600);
            let (writes, proven) = (self.world.now().writes, self.report.proven);
            let end = self.activation(store, Kind::Sweep, Entrants::All).await;
            if self.failure.is_some() {
                return;
            }
            quiet = self.world.now().writes == writes && self.report.proven > proven;
            if quiet && end.is_some() {
                break;
            }
        }
        let open = store.open_intents().await.unwrap_or_default();
        if !quiet || !open.is_empty() {
            self.fail(format!("the month does not come to rest (quiet: {quiet}, in doubt: {open:?})"));
        }
        let report = store.check().await;
        if report.as_ref().map_or(true, |report| !report.problems().is_empty()) {
            self.fail(format!("the state is not sound: {report:?}"));
        }
    }
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}

fn scheme(switches: &Switches) -> StampScheme {
    StampScheme {
        membership_prefix: switches.stamp_number.then(|| String::from("LD-")),
        custom_field: switches.stamp_column.then_some(31),
    }
}

fn settings(switches: &Switches) -> EngineSettings {
    EngineSettings {
        match_keys: vec![MatchKey::Email, MatchKey::Phone],
        shared_keys: SharedKeys::Create,
        settle: Duration::from_secs(2),
        doubt_horizon: Duration::from_mins(5),
        id_walk_limit: 5_000,
        phone_country: Country::parse("TW").unwrap(),
        clears: true,
        failures: FailurePolicy::default(),
        jobs: switches.jobs,
        wait: false,
        deletes: DeleteRules::default(),
    }
}

fn mapping(switches: &Switches) -> Arc<Mapping> {
    let source = MappingSource::from_text(Path::new("mapping.toml"), MAPPING.to_owned()).unwrap();
    let spec: MappingSpec = source.parse().unwrap();
    let definitions = definitions();
    let context = CompileContext {
        definitions: Some(&definitions),
        stamp: StampFields { membership_no: switches.stamp_number, cz_col: switches.stamp_column.then_some(31) },
        time_zone: jiff::tz::TimeZone::get("Asia/Taipei").unwrap(),
        phone_country: Country::parse("TW").unwrap(),
    };
    Arc::new(compile(&spec, &context).unwrap())
}

/// A folder in memory for the state: a small disk of its own where this user may mount one.
struct StateFolder {
    folder: tempfile::TempDir,
    mounted: bool,
}

impl StateFolder {
    fn new() -> Self {
        let memory = Path::new("/dev/shm");
        let folder = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() };
        let folder = folder.unwrap();
        let mounted = command("mount", &["-t", "tmpfs", "-o", DISK, "tmpfs", folder.path().to_str().unwrap()]);
        Self { folder, mounted }
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    /// The disk that can be filled.
    fn disk(&self) -> Option<PathBuf> {
        self.mounted.then(|| self.path().to_owned())
    }
}

impl Drop for StateFolder {
    fn drop(&mut self) {
        if self.mounted {
            command("umount", &["-l", self.folder.path().to_str().unwrap()]);
        }
    }
}

fn command(program: &str, args: &[&str]) -> bool {
    std::process::Command::new(program).args(args).output().is_ok_and(|output| output.status.success())
}
