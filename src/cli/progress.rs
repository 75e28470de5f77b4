//! How a run shows itself: a bar on a terminal, a log line elsewhere.

use std::fmt::Write;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use indicatif::{HumanDuration, ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};

use crate::sync::progress::{Phase, Progress, ProgressEvent};

/// Shorter waits are only logged, at debug.
const WORTH_TELLING: Duration = Duration::from_secs(5);
// What is said goes last and is cut at the end of the line: a line that wraps is drawn anew below itself.
const BAR: &str = "[{bar:20}] {pos}/{len} {rate} {eta} left  {wide_msg}";
const SPINNER: &str = "{spinner} {pos} pages {elapsed}  {wide_msg}";

/// Draws on the terminal, or logs where there is none.
pub struct Bar {
    line: ProgressBar,
    phase: Mutex<Phase>,
    /// What each stretch of work is called.
    words: fn(Phase) -> &'static str,
    /// Time spent waiting since the last answer, as announced.
    waited: Mutex<Duration>,
}

impl Bar {
    /// A watcher that draws on standard error when that is a terminal.
    pub fn on_stderr() -> Self {
        let line = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr_with_hz(8));
        line.set_style(spinner());
        Self { line, phase: Mutex::new(Phase::LeftOvers), words: Phase::as_str, waited: Mutex::default() }
    }

    /// The same for work that only says what would be done.
    pub fn of_a_plan() -> Self {
        Self { words: Phase::as_planned, ..Self::on_stderr() }
    }

    /// Whether somebody looks at it; else the log has to tell.
    pub fn is_drawn(&self) -> bool {
        !self.line.is_hidden()
    }

    /// Takes the bar away.
    pub fn finish(&self) {
        self.line.finish_and_clear();
    }

    /// Prints above the bar.
    fn print(&self, text: &str) {
        if self.line.is_hidden() {
            tracing::info!("{text}");
        } else {
            self.line.suspend(|| super::output::note(text));
        }
    }

    /// A long wait, or the one that makes many short ones long.
    fn is_worth_telling(&self, wait: Option<Duration>) -> bool {
        let Some(wait) = wait else { return true };
        let mut waited = self.waited.lock().unwrap_or_else(PoisonError::into_inner);
        let before = *waited;
        *waited += wait;
        wait >= WORTH_TELLING || (before < WORTH_TELLING && *waited >= WORTH_TELLING)
    }

    fn phase(&self) -> Phase {
        *self.phase.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Progress for Bar {
    fn event(&self, event: ProgressEvent) {
        match event {
            ProgressEvent::Phase(phase) => {
                *self.phase.lock().unwrap_or_else(PoisonError::into_inner) = phase;
                let doing = (self.words)(phase);
                tracing::debug!("{doing}");
                self.line.set_message(doing);
                if phase.is_counted() {
                    self.line.set_style(bar());
                } else {
                    self.line.set_style(spinner());
                    self.line.enable_steady_tick(Duration::from_millis(250));
                }
                self.line.reset();
                self.line.tick();
            }
            ProgressEvent::Expect(total) => {
                self.line.set_length(total);
                self.line.reset_eta();
            }
            ProgressEvent::Advance(contacts) => {
                if self.phase().is_counted() {
                    self.line.inc(contacts);
                }
            }
            ProgressEvent::PageRead => {
                if !self.phase().is_counted() {
                    self.line.inc(1);
                }
            }
            ProgressEvent::Waiting { why, wait } => {
                let text = match wait {
                    Some(wait) if wait >= Duration::from_secs(1) => format!("waiting {}: {why}", HumanDuration(wait)),
                    _ => format!("waiting: {why}"),
                };
                if self.is_worth_telling(wait) {
                    self.print(&text);
                } else {
                    tracing::debug!("{text}");
                }
                self.line.set_message(text);
            }
            ProgressEvent::Resumed => {
                *self.waited.lock().unwrap_or_else(PoisonError::into_inner) = Duration::ZERO;
                self.line.set_message((self.words)(self.phase()));
            }
            ProgressEvent::Notice(text) => self.print(&text),
        }
    }
}

fn bar() -> ProgressStyle {
    ProgressStyle::with_template(BAR)
        .expect("the template is a constant that a test draws")
        .with_key("rate", |state: &ProgressState, text: &mut dyn Write| {
            // What cannot be drawn is not worth failing for.
            let _drawn = write!(text, "{:.0}/s", state.per_sec());
        })
        .progress_chars("=> ")
}

fn spinner() -> ProgressStyle {
    ProgressStyle::with_template(SPINNER).expect("the template is a constant that a test draws")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Bar, bar, spinner};
    use crate::sync::progress::{Phase, Progress, ProgressEvent};

    #[test]
    fn short_waits_are_told_once_they_have_become_long() {
        let bar = Bar::on_stderr();
        let told = |seconds| bar.is_worth_telling(Some(Duration::from_secs(seconds)));
        assert_eq!([told(2), told(2), told(2), told(2), told(8)], [false, false, true, false, true]);
        bar.event(ProgressEvent::Resumed);
        assert!(!told(2));
    }

    #[test]
    fn the_templates_are_right() {
        bar();
        spinner();
    }

    #[test]
    fn nobody_who_makes_a_plan_is_told_that_contacts_are_carried() {
        let bar = Bar::of_a_plan();
        for phase in [Phase::LeftOvers, Phase::Carry, Phase::Settle] {
            bar.event(ProgressEvent::Phase(phase));
            bar.event(ProgressEvent::Waiting { why: String::from("a pause"), wait: None });
            bar.event(ProgressEvent::Resumed);
            let said = bar.line.message();
            assert!(!said.contains("carrying") && !said.contains("settling") && !said.contains("pause"), "{said}");
        }
    }

    #[test]
    fn the_bar_of_an_undo_has_an_end() {
        let bar = Bar::on_stderr();
        bar.event(ProgressEvent::Phase(Phase::Undo));
        bar.event(ProgressEvent::Expect(4));
        bar.event(ProgressEvent::Advance(1));
        assert_eq!((bar.line.position(), bar.line.length()), (1, Some(4)));
    }

    #[test]
    fn the_bar_counts_contacts_while_carrying() {
        let bar = Bar::on_stderr();
        bar.event(ProgressEvent::Phase(Phase::Carry));
        bar.event(ProgressEvent::Expect(10));
        bar.event(ProgressEvent::PageRead);
        bar.event(ProgressEvent::Advance(3));
        assert_eq!((bar.line.position(), bar.line.length()), (3, Some(10)));
    }
}
