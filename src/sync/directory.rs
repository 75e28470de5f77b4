//! The directory: where a contact without a link is looked up, chosen once per run and only when one needs it.
//!
//! Few look-ups ask the platform, with filters that a positive control vouches for; many read the target's lists once;
//! an empty target needs none. Emptiness is seen in the run itself and never remembered.

use std::sync::Arc;

use tokio::sync::OnceCell;

use crate::domain::target::TargetContact;
use crate::sync::engine::{Engine, MatchKey, RunError, SharedKeys};
use crate::sync::finder::FilterForm;
use crate::sync::ports::{ChildFilter, ContactTarget, TargetPage};
use crate::sync::resolve::Directory;
use crate::sync::survey::Survey;

/// A directory that is chosen when the first contact needs it.
#[derive(Debug)]
pub struct LazyDirectory {
    chosen: OnceCell<Arc<Directory>>,
    /// Whether the state knew nothing when the run began.
    fresh: bool,
    /// Contacts that are expected to need a look-up.
    look_ups: u64,
}

impl LazyDirectory {
    /// A directory still to be chosen.
    pub fn new(fresh: bool, look_ups: u64) -> Self {
        Self { chosen: OnceCell::new(), fresh, look_ups }
    }

    /// Whether it is known that nothing can be found.
    pub fn is_empty(&self) -> bool {
        self.chosen.get().is_some_and(|chosen| matches!(**chosen, Directory::Empty))
    }
}

impl<T: ContactTarget> Engine<T> {
    /// The directory, chosen now if it was not yet. Everybody who needs it waits for the same choice.
    pub async fn directory(&self, lazy: &LazyDirectory) -> Result<Arc<Directory>, RunError> {
        let chosen = lazy.chosen.get_or_try_init(async || self.choose_directory(lazy).await.map(Arc::new)).await?;
        Ok(Arc::clone(chosen))
    }

    /// Decides where look-ups go, and refuses a target that this state must not write to.
    async fn choose_directory(&self, lazy: &LazyDirectory) -> Result<Directory, RunError> {
        let total = self.target.contacts(None, 1).await?;
        if self.is_seen_empty(&total).await? {
            self.store.index_clear().await?;
            return Ok(match self.settings.shared_keys {
                SharedKeys::Create => Directory::Empty,
                // What this run creates is looked up by the contacts that come after it.
                SharedKeys::Conflict => Directory::Indexed(Survey {
                    contacts_proven: true,
                    emails_proven: true,
                    phones_proven: true,
                    ..Survey::default()
                }),
            });
        }
        let lists = 1 + self.settings.match_keys.len() as u64;
        let pages = match total.total {
            Some(customers) => customers.div_ceil(total.rows.len().max(1) as u64),
            None => total.last_page.map_or(0, u64::from),
        };
        let live = lazy.look_ups.saturating_mul(lists) < pages.saturating_mul(lists);
        if !lazy.fresh
            && live
            && let Some(trusted) = self.live_filters().await?
        {
            return Ok(Directory::Live(trusted));
        }
        let survey = self.survey().await?;
        if lazy.fresh {
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
