//! How a run shows itself: a bar on a terminal, a log line elsewhere.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use indicatif::{HumanDuration, ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::sync::progress::{Phase, Progress, ProgressEvent};

const BAR: &str = "{msg:40!} [{bar:28}] {pos}/{len} {per_sec:>10} {eta:>6} left";
const SPINNER: &str = "{msg:40!} {spinner} {pos} pages {elapsed}";

/// Draws on the terminal, or logs where there is none.
pub struct Bar {
    bar: ProgressBar,
    phase: Mutex<Phase>,
}

impl Bar {
    /// A watcher that draws on standard error when that is a terminal.
    pub fn on_stderr() -> Self {
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr_with_hz(8));
        bar.set_style(spinner());
        Self { bar, phase: Mutex::new(Phase::LeftOvers) }
    }

    /// Takes the bar away.
    pub fn finish(&self) {
        self.bar.finish_and_clear();
    }

    /// Prints above the bar.
    fn print(&self, text: &str) {
        if self.bar.is_hidden() {
            tracing::info!("{text}");
        } else {
            self.bar.suspend(|| super::output::note(text));
        }
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
                tracing::debug!("{}", phase.as_str());
                self.bar.set_message(phase.as_str());
                if phase == Phase::Carry {
                    self.bar.set_style(bar());
                } else {
                    self.bar.set_style(spinner());
                    self.bar.enable_steady_tick(Duration::from_millis(250));
                }
                self.bar.reset();
                self.bar.tick();
            }
            ProgressEvent::Expect(total) => {
                self.bar.set_length(total);
                self.bar.reset_eta();
            }
            ProgressEvent::Advance(contacts) => {
                if self.phase() == Phase::Carry {
                    self.bar.inc(contacts);
                }
            }
            ProgressEvent::PageRead => {
                if self.phase() != Phase::Carry {
                    self.bar.inc(1);
                }
            }
            ProgressEvent::Waiting { why, wait } => {
                let text = match wait {
                    Some(wait) if wait >= Duration::from_secs(1) => format!("waiting {}: {why}", HumanDuration(wait)),
                    _ => format!("waiting: {why}"),
                };
                if wait.is_none_or(|wait| wait >= Duration::from_secs(5)) {
                    self.print(&text);
                }
                self.bar.set_message(text);
            }
            ProgressEvent::Resumed => self.bar.set_message(self.phase().as_str()),
            ProgressEvent::Notice(text) => self.print(&text),
        }
    }
}

fn bar() -> ProgressStyle {
    ProgressStyle::with_template(BAR).expect("the template is a constant that a test draws").progress_chars("=> ")
}

fn spinner() -> ProgressStyle {
    ProgressStyle::with_template(SPINNER).expect("the template is a constant that a test draws")
}

#[cfg(test)]
mod tests {
    use super::{Bar, bar, spinner};
    use crate::sync::progress::{Phase, Progress, ProgressEvent};

    #[test]
    fn the_templates_are_right() {
        bar();
        spinner();
    }

    #[test]
    fn the_bar_counts_contacts_while_carrying() {
        let bar = Bar::on_stderr();
        bar.event(ProgressEvent::Phase(Phase::Carry));
        bar.event(ProgressEvent::Expect(10));
        bar.event(ProgressEvent::PageRead);
        bar.event(ProgressEvent::Advance(3));
        assert_eq!((bar.bar.position(), bar.bar.length()), (3, Some(10)));
    }
}
