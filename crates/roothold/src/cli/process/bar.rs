//! How far the work is, on stderr: a bar on a terminal, else a line now and then.

use std::io::IsTerminal as _;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

use super::super::say;
use super::super::table::line;
use crate::call::Progress;

/// The least time between two lines, where there is no terminal.
const LINE_EVERY: Duration = Duration::from_secs(5);
/// How often the bar moves on by itself, so that it is seen to live.
const TICK: Duration = Duration::from_millis(100);

/// Shows progress.
pub(super) struct Bar(Shown);

enum Shown {
    Nothing,
    Bar(ProgressBar),
    Lines(Mutex<Instant>),
}

impl Bar {
    /// Begins; nothing is seen before the first news.
    pub(super) fn start(quiet: bool) -> Self {
        if quiet {
            return Self(Shown::Nothing);
        }
        if std::io::stderr().is_terminal() {
            return Self(Shown::Bar(ProgressBar::no_length()));
        }
        Self(Shown::Lines(Mutex::new(Instant::now())))
    }

    /// Takes news of how far the work is.
    pub(super) fn tell(&self, progress: &Progress) {
        let message = line(progress.message.as_deref().unwrap_or_default());
        match &self.0 {
            Shown::Nothing => {}
            Shown::Bar(bar) if bar.is_finished() => {}
            Shown::Bar(bar) => {
                if bar.length().is_none() {
                    bar.set_style(style());
                    bar.enable_steady_tick(TICK);
                }
                if let Some(total) = progress.total {
                    bar.set_length(whole(total));
                }
                bar.set_position(whole(progress.done));
                // The bar itself says that it is worked on, and a narrow terminal has room for the rest.
                bar.set_message(message.trim_start_matches("Processed: ").to_owned());
            }
            Shown::Lines(told) => {
                let mut told = told.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
                if told.elapsed() >= LINE_EVERY {
                    *told = Instant::now();
                    say(&message);
                }
            }
        }
    }

    /// Takes the bar away.
    pub(super) fn end(&self) {
        if let Shown::Bar(bar) = &self.0 {
            bar.finish_and_clear();
        }
    }
}

fn style() -> ProgressStyle {
    let style = ProgressStyle::with_template("{bar:20} {wide_msg} {eta}");
    style.unwrap_or_else(|_| ProgressStyle::default_bar())
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a float saturates, and a bar needs no more"
)]
fn whole(number: f64) -> u64 {
    number as u64
}
