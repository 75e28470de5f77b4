//! Walking a filtered child list (e-mails, phones) to its end.
//!
//! A filter may be ignored, a list may not say how long it is, and a row may not say whose it is: what cannot be told from
//! the answers is no proof of absence.

use std::collections::BTreeSet;

use crate::domain::ids::ChildId;
use crate::domain::target::{TargetEmail, TargetPhone};
use crate::sync::ports::{PortError, TargetPage};

/// Pages of a filtered child list that are read.
const LIVE_PAGES: u32 = 20;
/// Rows on a page where nothing else is asked for (notes FIRST LINE 2.1): no tenant is known that gives fewer.
const LEAST_PAGE: usize = 15;

/// The rows of a filtered child list that are `ours`, and whether that is all of them: an answer without an end within reach
/// comes from an ignored filter, and a row that does not say whose it is may be one of ours.
pub(super) async fn filtered<R: Child, F>(
    page_of: impl Fn(u32) -> F,
    ours: impl Fn(&R) -> Option<bool>,
) -> Result<(Vec<R>, bool), PortError>
where
    F: Future<Output = Result<TargetPage<R>, PortError>>,
{
    let mut found = Vec::new();
    let mut seen = BTreeSet::new();
    let mut told = true;
    for page in 1..=LIVE_PAGES {
        let answer = page_of(page).await?;
        let rows = answer.rows.len();
        let before = seen.len();
        for row in answer.rows {
            if !seen.insert(row.id()) {
                continue;
            }
            match ours(&row) {
                Some(true) => found.push(row),
                Some(false) => {}
                None => told = false,
            }
        }
        let ended = match answer.last_page {
            _ if rows == 0 => true,
            Some(last) => page >= last,
            // Nothing new: a list without pages. One that is as long as a page may be may just not follow `page`.
            None => seen.len() == before && rows < LEAST_PAGE,
        };
        if ended {
            return Ok((found, told));
        }
    }
    Ok((found, false))
}

/// A row of a child list.
pub(super) trait Child {
    /// Its id.
    fn id(&self) -> ChildId;
}

impl Child for TargetEmail {
    fn id(&self) -> ChildId {
        self.id
    }
}

impl Child for TargetPhone {
    fn id(&self) -> ChildId {
        self.id
    }
}

#[cfg(test)]
mod tests {
    use super::{LIVE_PAGES, filtered};
    use crate::domain::ids::{ChildId, FirstLineId};
    use crate::domain::target::TargetEmail;
    use crate::sync::ports::TargetPage;

    /// What pages of so many rows come to, whose owner is `owner`; `last_page` as the list says it.
    async fn read(pages: &[usize], last_page: Option<u32>, follows_page: bool, owner: Option<i64>) -> (usize, bool) {
        let page_of = |page: u32| {
            let at = if follows_page { page as usize - 1 } else { 0 };
            let start: usize = pages.iter().take(at).sum();
            let rows = (start..start + pages.get(at).copied().unwrap_or(0)).map(|id| TargetEmail {
                id: ChildId(i64::try_from(id).unwrap_or(0)),
                address: String::from("a@example.com"),
                contact: owner.map(FirstLineId),
            });
            let answer = TargetPage { rows: rows.collect(), total: None, last_page };
            async move { Ok(answer) }
        };
        let ours = |row: &TargetEmail| row.contact.map(|owner| owner == FirstLineId(7));
        let (rows, proven) = filtered(page_of, ours).await.unwrap_or_else(|error| panic!("{error}"));
        (rows.len(), proven)
    }

    #[tokio::test]
    async fn a_list_that_does_not_say_its_last_page_is_read_to_an_empty_one() {
        assert_eq!(read(&[15, 15, 3], None, true, Some(7)).await, (33, true));
        assert_eq!(read(&[15, 15, 3], Some(3), true, Some(7)).await, (33, true));
        assert_eq!(read(&[], None, true, Some(7)).await, (0, true));
        let endless = vec![15; LIVE_PAGES as usize + 1];
        assert!(!read(&endless, None, true, Some(7)).await.1);
    }

    #[tokio::test]
    async fn a_list_without_pages_is_whole_only_where_it_is_shorter_than_a_page_could_be() {
        assert_eq!(read(&[3], None, false, Some(7)).await, (3, true));
        assert_eq!(read(&[15], None, false, Some(7)).await, (15, false));
    }

    #[tokio::test]
    async fn a_row_that_names_no_owner_leaves_a_list_unproven() {
        assert_eq!(read(&[2], Some(1), true, Some(8)).await, (0, true));
        assert_eq!(read(&[2], Some(1), true, None).await, (0, false));
    }
}
