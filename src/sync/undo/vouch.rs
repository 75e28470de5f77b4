//! Whether this is the FIRST LINE of the state, and whether a 404 there means anything.

use super::Undo;
use crate::domain::ids::LiveDeskId;
use crate::store::{Link, Standing};
use crate::sync::engine::RunError;
use crate::sync::finder::Sight;
use crate::sync::journal::action;
use crate::sync::ports::ContactTarget;
use crate::sync::witness::Testimony;

/// Records that are read to find one that shows that this is the right tenant, or that any can be read.
const WITNESSES: usize = 8;
/// Links among which they are looked for.
const CANDIDATES: u32 = 200;

impl<T: ContactTarget> Undo<'_, T> {
    /// Is this the FIRST LINE of the state? What an undo before this one was about to delete says nothing.
    pub(super) async fn recognise(&self) -> Result<(), RunError> {
        let engine = self.engine;
        let mut witnesses: Vec<Link> = engine.store.links_page(LiveDeskId(-1), CANDIDATES).await?;
        witnesses.retain(|link| link.standing == Standing::Live);
        let mut asked = 0;
        for link in witnesses {
            let journal = engine.store.journal_of_contact(link.livedesk_id).await?;
            if journal.iter().any(|entry| entry.action == action::DELETE && entry.target == link.target) {
                continue;
            }
            asked += 1;
            if let Sight::Record(record) = engine.sight(link.target).await?
                && engine.testimony(&link, &record) != Testimony::Other
            {
                return Ok(());
            }
            if asked >= WITNESSES {
                break;
            }
        }
        if asked == 0 {
            return Ok(());
        }
        Err(RunError::Refused(
            "FIRST LINE does not hold the records that this state links to: it belongs to another tenant, or they were \
             deleted; nothing was taken back. `deskferry state rebuild` looks for them, and says how to go on where all of them \
             were deleted"
                .into(),
        ))
    }

    /// Whether customers can be read by their ids at all: the last ones of an undo that died may have nobody else to vouch. An
    /// account that lists nobody has none that could.
    pub(super) async fn can_read(&self) -> Result<bool, RunError> {
        let listed = self.engine.target.contacts(None, 1).await?;
        for row in listed.rows.iter().take(WITNESSES) {
            if matches!(self.engine.sight(row.id).await?, Sight::Record(_)) {
                return Ok(true);
            }
        }
        Ok(listed.rows.is_empty() && listed.total.unwrap_or_default() == 0)
    }
}
