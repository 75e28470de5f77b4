//! All linked customers gone at once: believed on a person's word alone.
//!
//! A 404 counts only while another known record answers (docs/adr/0012). Where every one of them was deleted by hand nobody is
//! left to answer, and it looks the same from another tenant or through a role that sees less. So this only looks, and
//! says what it saw; that they are gone is for a person to say. Nothing is written to FIRST LINE, and nothing is made
//! again by it.

use futures::stream::{self, StreamExt, TryStreamExt};

use super::Rebuilt;
use crate::domain::ids::LiveDeskId;
use crate::store::{Link, Standing, WriteOp};
use crate::sync::engine::{Engine, RunError};
use crate::sync::finder::Sight;
use crate::sync::ports::ContactTarget;

/// Links that are looked at between two commits.
const PAGE: u32 = 200;

impl<T: ContactTarget> Engine<T> {
    /// How many linked customers there are, if none of them is there: a list that was read to its end shows no stamp of
    /// theirs, and each was asked for and answered 404. 0 where any may be there.
    pub async fn all_gone(&self, rebuilt: &Rebuilt) -> Result<u64, RunError> {
        if !rebuilt.proven || rebuilt.linked + rebuilt.relinked + rebuilt.known + rebuilt.twins > 0 {
            return Ok(0);
        }
        let (mut gone, mut after) = (0, LiveDeskId(-1));
        loop {
            self.go_on()?;
            let page = self.store.links_page(after, PAGE).await?;
            let Some(last) = page.last() else { return Ok(gone) };
            after = last.livedesk_id;
            let jobs = self.settings.jobs.max(1);
            let mut looks = stream::iter(page.into_iter().filter(is_live))
                .map(async |link| Ok::<_, RunError>(matches!(self.sight(link.target).await?, Sight::Nothing)))
                .buffer_unordered(jobs);
            while let Some(nothing) = looks.try_next().await? {
                if !nothing {
                    return Ok(0);
                }
                gone += 1;
            }
        }
    }

    /// Marks every link whose customer was believed to be there as gone: nothing is written through it, and its contact is not
    /// made again but on a person's word.
    pub async fn mark_all_gone(&self) -> Result<(), RunError> {
        let mut after = LiveDeskId(-1);
        loop {
            let page = self.store.links_page(after, PAGE).await?;
            let Some(last) = page.last() else { return Ok(()) };
            after = last.livedesk_id;
            let gone = |link: Link| WriteOp::PutLink(Link { standing: Standing::Gone, run: self.run, ..link });
            self.store.write(page.into_iter().filter(is_live).map(gone).collect()).await?;
        }
    }
}

fn is_live(link: &Link) -> bool {
    link.standing == Standing::Live
}
