//! The largest page of the contact list. Reads only.

use super::judge::{LargestPage, Next, PageSize};
use super::{Ledger, Probe, ProbeError};
use crate::domain::tenant::Question;

/// A page behind the end of any list: its answer says the page size and shows nobody.
const BEHIND_THE_END: u64 = 1_000_000;
/// The page size that every version of the documents names (notes FIRST LINE 2.1).
const USUAL: u64 = 15;
/// More is of no use: `firstline.per_page` goes no further.
const MOST: u64 = 1000;

impl<L: Ledger> Probe<'_, L> {
    pub(super) async fn largest_page(&mut self) -> Result<(), ProbeError> {
        // A server may refuse to go that deep.
        let far = self.target.probe_page(BEHIND_THE_END, USUAL).await?.0;
        let page = if far == PageSize::Says(USUAL) { BEHIND_THE_END } else { 1 };
        match self.target.probe_page(page, USUAL).await?.0 {
            PageSize::Says(USUAL) => {}
            PageSize::Says(less) if less > 0 && less < USUAL => {
                self.report.settle(Question::PerPageMax, less);
                return Ok(());
            }
            PageSize::Silent => {
                self.report.unknown(Question::PerPageMax, "the lists do not say how many rows a page has");
                return Ok(());
            }
            PageSize::Says(_) | PageSize::Refused => {
                self.report.unknown(Question::PerPageMax, "the list does not follow per_page");
                return Ok(());
            }
        }
        let mut search = LargestPage::new(USUAL, MOST);
        let mut asked = search.first();
        let found = loop {
            let size = self.target.probe_page(page, asked).await?.0;
            match search.answered(asked, size) {
                Next::Found(found) => break found,
                Next::Ask(next) => asked = next,
            }
        };
        // What a page says of itself, held against what it holds.
        let (_, rows, total) = self.target.probe_page(1, found).await?;
        if total.is_some_and(|total| rows < found.min(total)) {
            let reason = format!("a page says that it has {found} rows and has {rows}");
            self.report.unknown(Question::PerPageMax, reason);
        } else {
            self.report.settle(Question::PerPageMax, found);
            if found == MOST {
                self.report.detail(Question::PerPageMax, "or more");
            }
        }
        Ok(())
    }
}
