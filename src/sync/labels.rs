//! Reading who has a label: one filtered walk per label, with a verdict like any other.
//!
//! LiveDesk's list does not show labels and a call per contact would cost as many requests as there are contacts, so the
//! list is asked for the contacts of a label (notes LiveDesk 3.1). A server that ignores the filter answers with everybody:
//! it is asked for a label that nobody has, first.

use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};

use roaring::RoaringTreemap;

use crate::domain::ids::LiveDeskId;
use crate::domain::sweep::Verdict;
use crate::sync::engine::RunError;
use crate::sync::lookup::OLDEST_FIRST;
use crate::sync::ports::{ByIdAnswer, ContactSource, LabelStyle, PageRequest, PortError, SourcePage};
use crate::sync::scan::{Goal, ScanError, Sweep, SweepPlan, SweepStep};

/// A label that nobody has.
const NO_SUCH_LABEL: &str = "deskferry-no-such-label";
/// A filtered list must be shorter than that of everybody by this part of it, where unknown labels are ignored: contacts
/// come and go between two requests.
const SHORTER_BY: u64 = 20;
/// And by more than this.
const SHORTER_AT_LEAST: u64 = 2;

/// Who has a label.
#[derive(Clone, Debug, PartialEq)]
pub enum Label {
    /// These, and nobody else. Nobody at all may also mean that there is no such label.
    Read(RoaringTreemap),
    /// It could not be found out, and why.
    Unknown(String),
}

/// What the answer to a label that nobody has says about the filter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Filter {
    /// It works in this spelling.
    Works(LabelStyle),
    /// An unknown label, at least, is ignored: so many contacts came.
    Ignored { everybody: Option<u64> },
    /// It is refused.
    Refused { status: u16 },
}

/// Reads labels.
pub struct LabelReader<S> {
    source: Arc<S>,
    filter: Filter,
}

impl<S: ContactSource> LabelReader<S> {
    /// Finds out what the filter is worth.
    pub async fn start(source: Arc<S>) -> Result<Self, PortError> {
        let mut filter = None;
        for style in [LabelStyle::List, LabelStyle::Text] {
            let mut page = source.labelled_page(NO_SUCH_LABEL, style, OLDEST_FIRST).await;
            if page.as_ref().is_ok_and(SourcePage::is_empty) {
                // An empty page is read again before it is believed.
                page = source.labelled_page(NO_SUCH_LABEL, style, OLDEST_FIRST).await;
            }
            match page {
                Ok(page) if page.is_empty() => return Ok(Self { source, filter: Filter::Works(style) }),
                Ok(page) => filter = Some(Filter::Ignored { everybody: page.count }),
                Err(PortError::Refused { status, .. }) => {
                    filter.get_or_insert(Filter::Refused { status });
                }
                Err(error) => return Err(error),
            }
        }
        Ok(Self { source, filter: filter.unwrap_or(Filter::Ignored { everybody: None }) })
    }

    /// How to ask for a label, or why that is of no use.
    async fn style(&self, label: &str) -> Result<Result<LabelStyle, String>, PortError> {
        let everybody = match self.filter {
            Filter::Works(style) => return Ok(Ok(style)),
            Filter::Refused { status } => {
                return Ok(Err(format!("LiveDesk refuses the filter by label (status {status})")));
            }
            Filter::Ignored { everybody } => everybody,
        };
        for style in [LabelStyle::List, LabelStyle::Text] {
            let count = match self.source.labelled_page(label, style, OLDEST_FIRST).await {
                Ok(page) => page.count,
                Err(PortError::Refused { .. }) => continue,
                Err(error) => return Err(error),
            };
            if let (Some(all), Some(count)) = (everybody, count)
                && all.saturating_sub(count) > (all / SHORTER_BY).max(SHORTER_AT_LEAST)
            {
                return Ok(Ok(style));
            }
        }
        Ok(Err(String::from("LiveDesk answers with everybody: there is no such label, or the filter is ignored")))
    }

    /// What the first page says of a label: how many contacts it lists, or why it cannot be read.
    pub async fn glance(&self, label: &str) -> Result<Result<u64, String>, PortError> {
        let style = match self.style(label).await? {
            Ok(style) => style,
            Err(why) => return Ok(Err(why)),
        };
        match self.source.labelled_page(label, style, OLDEST_FIRST).await {
            Ok(page) => Ok(Ok(page.count.unwrap_or_default().max(page.len() as u64) * u64::from(!page.is_empty()))),
            Err(PortError::Refused { status, .. }) => Ok(Err(refused(status))),
            Err(error) => Err(error),
        }
    }

    /// Everybody who has a label. `between` is called before each page. An error is one that ends the run; what concerns the label
    /// alone makes it unknown.
    pub async fn read(
        &self,
        label: &str,
        goal: Goal,
        max_rounds: u32,
        between: impl AsyncFn() -> Result<(), RunError>,
    ) -> Result<Label, RunError> {
        let style = match self.style(label).await? {
            Ok(style) => style,
            Err(why) => return Ok(Label::Unknown(why)),
        };
        let source = Arc::new(Labelled {
            source: Arc::clone(&self.source),
            label: label.to_owned(),
            style,
            refused: AtomicU16::new(0),
        });
        let plan = SweepPlan { max_rounds, ..SweepPlan::new(goal) };
        match walk(Arc::clone(&source), plan, between).await? {
            Ok(label) => Ok(label),
            Err(_) if source.refused.load(Ordering::Relaxed) > 0 => {
                Ok(Label::Unknown(refused(source.refused.load(Ordering::Relaxed))))
            }
            Err(error @ ScanError::Source(_)) => Err(error.into()),
            Err(error) => Ok(Label::Unknown(error.to_string())),
        }
    }
}

fn refused(status: u16) -> String {
    format!("LiveDesk refuses the filter by this label (status {status})")
}

async fn walk<S: ContactSource>(
    source: Arc<Labelled<S>>,
    plan: SweepPlan,
    between: impl AsyncFn() -> Result<(), RunError>,
) -> Result<Result<Label, ScanError>, RunError> {
    let mut sweep = match Sweep::start(source, plan, None).await {
        Ok(sweep) => sweep,
        Err(error) => return Ok(Err(error)),
    };
    let mut ids = RoaringTreemap::new();
    loop {
        between().await?;
        match sweep.next().await {
            Err(error) => return Ok(Err(error)),
            Ok(SweepStep::Page(page)) => {
                ids.extend(page.fresh.iter().map(|contact| contact.id.0.unsigned_abs()));
                ids.extend(page.malformed.iter().filter_map(|row| row.id).map(|id| id.0.unsigned_abs()));
            }
            Ok(SweepStep::Finished(report)) => {
                return Ok(Ok(match report.verdict {
                    Verdict::Proven | Verdict::Counted => Label::Read(ids),
                    short @ Verdict::Short { .. } => {
                        Label::Unknown(format!("its contacts could not be read completely ({short})"))
                    }
                }));
            }
        }
    }
}

/// The contacts of one label, as a source of their own: a walk over them is a walk like any other.
struct Labelled<S> {
    source: Arc<S>,
    label: String,
    style: LabelStyle,
    /// The status with which the filter was refused; 0 for not.
    refused: AtomicU16,
}

impl<S: ContactSource> ContactSource for Labelled<S> {
    async fn page(&self, request: PageRequest) -> Result<SourcePage, PortError> {
        let page = self.source.labelled_page(&self.label, self.style, request).await;
        if let Err(PortError::Refused { status, .. }) = &page {
            self.refused.store(*status, Ordering::Relaxed);
        }
        page
    }

    async fn labelled_page(
        &self,
        label: &str,
        style: LabelStyle,
        request: PageRequest,
    ) -> Result<SourcePage, PortError> {
        self.source.labelled_page(label, style, request).await
    }

    async fn by_id(&self, _id: LiveDeskId, _known: LiveDeskId) -> Result<ByIdAnswer, PortError> {
        Ok(ByIdAnswer::Unsupported)
    }

    fn concurrency(&self) -> usize {
        self.source.concurrency()
    }
}
