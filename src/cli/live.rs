//! A look at both platforms for one contact, with a copy of the state that a run on trial may write to: what `explain` and
//! `conflicts show` read beside the state. Nothing is written but that copy, which is gone at the end.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::json;

use super::mask::mask;
use super::output::Failure;
use super::progress::Bar;
use super::{Context, output};
use crate::app::plan::copy::Copy;
use crate::app::plan::draft::{Draft, Shown};
use crate::app::plan::format::Line;
use crate::app::plan::{self, field_names};
use crate::app::{self, Platforms, Surroundings, TargetEngine, gate};
use crate::config::load::Loaded;
use crate::config::settings::Settings;
use crate::domain::contact::Contact;
use crate::domain::ids::{LiveDeskId, RunId};
use crate::domain::outcome::SetAsideKind;
use crate::mapping::Mapping;
use crate::store::Store;
use crate::sync::lookup::{Found, Lookup};
use crate::sync::overseer::Overseer;
use crate::sync::ports::{ContactSource, ContactTarget};
use crate::sync::progress::Progress;
use crate::sync::scan::ScanError;
use crate::sync::summary::SetAsideRow;

/// Both platforms, and a copy of the state.
pub struct Live {
    /// Settings; their state is the copy.
    pub settings: Settings,
    /// The mapping as the next run has it.
    pub mapping: Arc<Mapping>,
    store: Store,
    platforms: Platforms,
    around: Surroundings,
    run: RunId,
    copy: Copy,
}

/// What the next sweep would do with a contact.
pub struct Foreseen {
    /// In words: `create`, `update`, `nothing`, ..
    pub action: String,
    /// Field by field, where something is to be done or is left over.
    pub line: Option<Line>,
    /// Why it cannot be said.
    pub problem: Option<String>,
}

impl Live {
    /// Connects. A platform that is not there is a failure at once: somebody waits for an answer.
    pub async fn open(context: &Context, loaded: &Loaded) -> Result<Self, Failure> {
        let mut settings = loaded.settings.clone();
        let missing = settings.missing_credentials();
        if !missing.is_empty() {
            return Err(crate::config::Problems(missing).into());
        }
        let copy = Copy::of(&settings.state.path, Arc::clone(&context.clock)).await;
        let copy = copy.map_err(|error| Failure::chain(&error))?;
        settings.state.path = copy.state();
        let bar = Arc::new(Bar::of_a_plan());
        let around = Surroundings { no_wait: true, ..context.surroundings(Arc::clone(&bar) as Arc<dyn Progress>) };
        let offline = app::compile_mapping(&settings, &loaded.mapping, None)?;
        let store = app::open_state(&settings, "a look", Arc::clone(&context.clock)).await?;
        let learned = app::learned(&store).await?;
        let platforms = app::connect(&settings, offline.needs_inboxes(), &learned, &around)?;
        let definitions = platforms.firstline.definitions().await?;
        let mapping = gate::preview(&settings, &loaded.mapping, &definitions, &store).await?;
        let run = store.begin_run("look", &json!({})).await?;
        bar.finish();
        Ok(Self { settings, mapping: Arc::new(mapping), store, platforms, around, run, copy })
    }

    /// The contact as LiveDesk shows it now; `None` when it does not.
    pub async fn contact(&self, id: LiveDeskId) -> Result<Option<Contact>, Failure> {
        let source = Arc::clone(&self.platforms.livedesk);
        look_up(source, id, self.settings.sweep.max_rounds).await
    }

    /// Whether LiveDesk shows the contact, be its row readable or not; `None` where that cannot be told.
    pub async fn is_listed(&self, id: LiveDeskId) -> Result<Option<bool>, Failure> {
        let source = Arc::clone(&self.platforms.livedesk);
        let found = find(source, id, self.settings.sweep.max_rounds).await;
        let (found, is_gone) = found.map_err(|error| Failure::chain(&error))?;
        let is_shown = !(found.contacts.is_empty() && found.malformed.is_empty());
        Ok((is_shown || is_gone).then_some(is_shown))
    }

    /// An engine to read with.
    pub async fn engine(&self) -> Result<TargetEngine, Failure> {
        let mapping = Arc::clone(&self.mapping);
        let store = self.store.clone();
        Ok(app::engine(&self.settings, &self.platforms, store, mapping, &self.around, self.run).await?)
    }

    /// The real run over the copy, for this contact alone, with a FIRST LINE that is not written to.
    pub async fn foresee(&self, id: LiveDeskId, show_values: bool) -> Result<Foreseen, Failure> {
        let lines: Arc<Mutex<Vec<Line>>> = Arc::default();
        let listener = {
            let lines = Arc::clone(&lines);
            Box::new(move |line: &Line| lines.lock().unwrap_or_else(PoisonError::into_inner).push(line.clone()))
        };
        let show: Shown = if show_values { Box::new(str::to_owned) } else { Box::new(mask) };
        let names = field_names(&self.store).await?;
        let key = self.store.hash_key().clone();
        let draft = Arc::new(Draft::begin(&self.copy.lines(), key, names, show, listener)?);
        let overseer = (self.run, Arc::clone(&draft) as Arc<dyn Overseer>);
        let mapping = Arc::clone(&self.mapping);
        let (pipeline, _target) =
            plan::pipeline(&self.settings, &self.platforms, self.store.clone(), mapping, &self.around, overseer)
                .await?;
        let end = pipeline.carry_one(id).await;
        let (_, contacts) = draft.finish()?;
        let line = lines.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let problem = match &end.failure {
            Some(failure) => Some(Failure::chain(failure).to_string()),
            None => end.summary.set_aside_rows.first().map(|row| row.reason.to_string()),
        };
        // A row that cannot be read is set aside before anybody is asked.
        let is_unreadable = |row: &SetAsideRow| row.reason.kind == SetAsideKind::Unreadable;
        let other = match (&problem, end.summary.set_aside_rows.first()) {
            (None, _) => "nothing",
            (Some(_), Some(row)) if is_unreadable(row) => "reject",
            (Some(_), _) => "unknown",
        };
        let action = contacts.into_keys().next().unwrap_or_else(|| other.to_owned());
        Ok(Foreseen { action, line, problem })
    }

    /// Ends the look.
    pub async fn close(self) {
        self.store.close().await;
    }
}

/// One contact by its id; of a row that cannot be read, that is said.
pub async fn look_up<S: ContactSource>(
    source: Arc<S>,
    id: LiveDeskId,
    max_rounds: u32,
) -> Result<Option<Contact>, Failure> {
    let (found, _) = find(source, id, max_rounds).await.map_err(|error| Failure::chain(&error))?;
    if let Some(row) = found.malformed.first() {
        return Err(Failure::new(format!("LiveDesk's row of contact {id} cannot be read: {}", row.problem)));
    }
    Ok(found.contacts.into_iter().next())
}

/// What LiveDesk shows of a contact, and where that is nothing, whether it surely has none.
async fn find<S: ContactSource>(source: Arc<S>, id: LiveDeskId, max_rounds: u32) -> Result<(Found, bool), ScanError> {
    let mut lookup = Lookup::start(source, BTreeSet::from([id]), max_rounds).await?;
    while let Some(found) = lookup.next().await? {
        if !found.contacts.is_empty() || !found.malformed.is_empty() {
            return Ok((found, false));
        }
    }
    Ok((Found::default(), lookup.is_surely_gone(id)))
}

/// Says that only the state was asked.
pub fn say_unreachable(failure: &Failure) {
    output::note(format_args!("what the platforms say now is missing here: {failure}"));
}
