//! The directory: where a contact without a link is looked up, chosen once per run and only when one needs it.
//!
//! Few look-ups ask the platform, with filters that a positive control vouches for; many read the target's lists once;
//! an empty target needs none. Emptiness is seen in the run itself and never remembered; it lapses, because agents work
//! while a first backfill goes on for days, and a state that knows customers does not believe it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::Mutex;

use crate::clock::Timestamp;
use crate::domain::target::TargetContact;
use crate::store::IntentKind;
use crate::sync::engine::{Engine, MatchKey, RunError, SharedKeys};
use crate::sync::finder::FilterForm;
use crate::sync::ports::{ChildFilter, ContactTarget, TargetPage};
use crate::sync::resolve::Directory;
use crate::sync::survey::Survey;

/// A target that was seen empty is looked at again after this long.
const EMPTY_FOR_MS: i64 = 15 * 60 * 1000;

/// A directory that is chosen when the first contact needs it.
#[derive(Debug)]
pub struct LazyDirectory {
    chosen: Mutex<Option<Chosen>>,
    /// Whether what is chosen finds nobody.
    empty: AtomicBool,
    /// Whether the state knew nothing when the run began.
    fresh: bool,
    /// Contacts that are expected to need a look-up.
    look_ups: u64,
}

impl LazyDirectory {
    /// A directory still to be chosen.
    pub fn new(fresh: bool, look_ups: u64) -> Self {
        Self { chosen: Mutex::new(None), empty: AtomicBool::new(false), fresh, look_ups }
    }

    /// Whether it is known that nothing can be found.
    pub fn is_empty(&self) -> bool {
        self.empty.load(Ordering::Relaxed)
    }

    /// Whether the next one who needs it makes it look again. Nothing may be under way then.
    pub fn has_lapsed(&self, now_ms: i64) -> bool {
        let chosen = self.chosen.try_lock();
        chosen.is_ok_and(|chosen| chosen.as_ref().is_some_and(|chosen| chosen.has_lapsed(now_ms)))
    }
}

/// A choice, and what it rests on.
#[derive(Debug)]
struct Chosen {
    directory: Arc<Directory>,
    /// When the target was seen to hold nothing but what we made, where that is what it rests on.
    seen_empty: Option<Timestamp>,
}

impl Chosen {
    /// A clock that was set back makes it no younger.
    fn has_lapsed(&self, now_ms: i64) -> bool {
        self.seen_empty.is_some_and(|at| !(at.0..at.0.saturating_add(EMPTY_FOR_MS)).contains(&now_ms))
    }
}

impl<T: ContactTarget> Engine<T> {
    /// The directory, chosen now if it was not yet. Everybody who needs it waits for the same choice.
    pub async fn directory(&self, lazy: &LazyDirectory) -> Result<Arc<Directory>, RunError> {
        let mut chosen = lazy.chosen.lock().await;
        let fresh = match chosen.as_mut() {
            None => lazy.fresh,
            Some(chosen) if !chosen.has_lapsed(self.now_ms()) => return Ok(Arc::clone(&chosen.directory)),
            Some(chosen) if self.holds_only_ours().await? => {
                chosen.seen_empty = Some(self.clock.now());
                return Ok(Arc::clone(&chosen.directory));
            }
            // By now our own stamps stand there.
            Some(_) => false,
        };
        let mut first = self.target.contacts(None, 1).await?;
        let (directory, seen_empty) = match self.seen_empty(&mut first, fresh).await? {
            Some(directory) => (directory, Some(self.clock.now())),
            None => (self.choose_directory(&first, fresh, lazy.look_ups).await?, None),
        };
        lazy.empty.store(matches!(directory, Directory::Empty), Ordering::Relaxed);
        let directory = Arc::new(directory);
        *chosen = Some(Chosen { directory: Arc::clone(&directory), seen_empty });
        Ok(directory)
    }

    /// Whether FIRST LINE still holds no more customers than this state made, or may have made.
    async fn holds_only_ours(&self) -> Result<bool, RunError> {
        let doubts = self.store.open_intents().await?;
        let doubts = doubts.iter().filter(|intent| intent.kind == IntentKind::Contact).count() as u64;
        let ours = self.store.made_count().await?.saturating_add(doubts);
        Ok(self.target.contacts(None, 1).await?.total.is_some_and(|total| total <= ours))
    }

    /// The directory of an empty target; `None` where it is not. Emptiness contradicts a state that has links.
    async fn seen_empty(
        &self,
        first: &mut TargetPage<TargetContact>,
        fresh: bool,
    ) -> Result<Option<Directory>, RunError> {
        if !self.is_seen_empty(first).await? {
            return Ok(None);
        }
        let linked = if fresh { 0 } else { self.store.standings().await?.live };
        if linked > 0 {
            // Asked again, should one answer have been a slip.
            *first = self.target.contacts(None, 1).await?;
            if !self.is_seen_empty(first).await? {
                return Ok(None);
            }
            return Err(RunError::Refused(format!(
                "FIRST LINE shows no customer at all, but this state is linked to {linked}: nobody can be looked up, and \
                 nothing is created; check the role of this account, the tenant and firstline.base_url"
            )));
        }
        self.store.index_clear().await?;
        Ok(Some(match self.settings.shared_keys {
            SharedKeys::Create => Directory::Empty,
            // What this run creates is looked up by the contacts that come after it.
            SharedKeys::Conflict => Directory::Indexed(Survey {
                contacts_proven: true,
                emails_proven: true,
                phones_proven: true,
                ..Survey::default()
            }),
        }))
    }

    /// Decides where look-ups go, and refuses a target that this state must not write to.
    async fn choose_directory(
        &self,
        total: &TargetPage<TargetContact>,
        fresh: bool,
        look_ups: u64,
    ) -> Result<Directory, RunError> {
        let lists = 1 + self.settings.match_keys.len() as u64;
        let pages = match total.total {
            Some(customers) => customers.div_ceil(total.rows.len().max(1) as u64),
            None => total.last_page.map_or(0, u64::from),
        };
        let live = look_ups.saturating_mul(lists) < pages.saturating_mul(lists);
        if !fresh
            && live
            && let Some(trusted) = self.live_filters().await?
        {
            return Ok(Directory::Live(trusted));
        }
        let survey = self.survey().await?;
        if fresh {
            refuse_stamped(&survey)?;
        }
        if !survey.contacts_proven {
            self.notice(
                "FIRST LINE's list of customers could not be read completely; contacts whose absence is not proven will \
                 be set aside, not created",
            );
        }
        Ok(Directory::Indexed(survey))
    }

    /// Whether the first page shows an empty target. Where it tells no total, it has to be empty twice.
    async fn is_seen_empty(&self, first: &TargetPage<TargetContact>) -> Result<bool, RunError> {
        let only_page =
            |page: &TargetPage<TargetContact>| page.rows.is_empty() && page.last_page.is_none_or(|last| last <= 1);
        Ok(match first.total {
            Some(total) => total == 0 && first.rows.is_empty(),
            None if !only_page(first) => false,
            None => {
                let again = self.target.contacts(None, 1).await?;
                only_page(&again) && again.total.is_none_or(|total| total == 0)
            }
        })
    }

    /// The positive control of all filters that live look-ups would rely on: the forms of stamp filter that work, or
    /// `None` where not enough does.
    async fn live_filters(&self) -> Result<Option<Vec<FilterForm>>, RunError> {
        let Some(link) = self.store.latest_created_link().await? else { return Ok(None) };
        let trusted = self.trusted_filters(link.livedesk_id, link.target).await?;
        if trusted.is_empty() {
            return Ok(None);
        }
        for key in &self.settings.match_keys {
            let works = match key {
                MatchKey::Email => {
                    let all = self.target.emails(&ChildFilter::All, 1).await?;
                    match all.rows.first() {
                        None => all.total == Some(0),
                        Some(known) => {
                            let found = self.target.emails(&ChildFilter::Value(known.address.clone()), 1).await?;
                            found.rows.iter().any(|row| row.id == known.id && row.contact.is_some())
                                && found.total < all.total
                        }
                    }
                }
                MatchKey::Phone => {
                    let all = self.target.phones(&ChildFilter::All, 1).await?;
                    match all.rows.first() {
                        None => all.total == Some(0),
                        Some(known) => {
                            let found = self.target.phones(&ChildFilter::Value(known.number.clone()), 1).await?;
                            found.rows.iter().any(|row| row.id == known.id && row.contact.is_some())
                                && found.total < all.total
                        }
                    }
                }
            };
            if !works {
                return Ok(None);
            }
        }
        Ok(Some(trusted))
    }
}

/// At the first run nothing at the target may look like our stamp (design, section 5).
fn refuse_stamped(survey: &Survey) -> Result<(), RunError> {
    if survey.stamped_unlinked > 0 {
        return Err(RunError::Refused(format!(
            "this state is empty, but {} customers in FIRST LINE carry our stamp already: creating now would duplicate \
             them; run `deskferry state rebuild` to find their links again, or point state.path at the right file",
            survey.stamped_unlinked
        )));
    }
    if survey.foreign_stamps > 0 {
        let ids: Vec<String> = survey.foreign_ids.iter().map(ToString::to_string).collect();
        return Err(RunError::Refused(format!(
            "{} customers in FIRST LINE hold something else where our stamp would stand (ids {}{}); choose another \
             prefix or another custom field in identity.stamp",
            survey.foreign_stamps,
            ids.join(", "),
            if survey.foreign_stamps > ids.len() as u64 { ", ..." } else { "" },
        )));
    }
    Ok(())
}
