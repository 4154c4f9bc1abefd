//! A server with tools of your own.
//!
//! `count_words` counts the words of a file page by page, tells how far it is, and stops when
//! the client gives up. It is used like the built-in tools: `roothold`'s whole command line is
//! here, with two tools more. The other one, in `count_lines`, can go on as a job.
//!
//! ```text
//! cargo run -p example-custom-tool -- serve --listen 127.0.0.1:8000 ~/projects
//! ```
//!
//! What you get without writing it: the arguments are parsed by the type `Input` and described
//! to clients by its doc comments; policy decides on the path before anything is opened; the
//! call counts against the caller's limits, has a deadline, an audit record, a metric and a log
//! line; and the file can only be opened with the permit, so there is no check to forget.

mod count_lines;

use std::process::ExitCode;
use std::time::Duration;

use roothold::core::files::{Resume, TextPage, TextRange, read_text};
use roothold::core::{Action, Actions, Fault, FilePath, Verb};
use roothold::schemars::{self, JsonSchema};
use roothold::{About, Call, Effect, Permits, Progress, Roothold, Structured, Tool};
use serde::{Deserialize, Serialize};

use crate::count_lines::CountLines;

fn main() -> ExitCode {
    ExitCode::from(roothold::cli::run_with(|| {
        Roothold::builder().tool(CountWords).tool(CountLines)
    }))
}

/// The longest pause between two pages that a caller can ask for, in milliseconds.
const PAUSE_MS_MAX: u64 = 5000;

struct CountWords;

/// Counts the words of a text file.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Input {
    /// The file.
    path: String,
    /// A pause after each page in milliseconds, at most 5000, for slow disks that others need too.
    #[serde(default)]
    #[schemars(range(max = 5000))]
    pause_ms: u64,
}

#[derive(Serialize, JsonSchema)]
struct Count {
    /// Words, as white space parts them.
    words: u64,
    /// The size of the file.
    bytes: u64,
}

impl Tool for CountWords {
    const NAME: &'static str = "count_words";
    type Input = Input;
    // `Structured` has an output schema; `Text` is for tools whose answer is just a text.
    type Output = Structured<Count>;

    fn about(&self) -> About {
        About {
            title: "Count Words",
            description: "Counts the words of a text file of any size.",
            // The four annotation hints of the protocol follow from it.
            effect: Effect::Reads,
        }
    }

    // Pure: what a call would touch. Policy looks at it, and the audit log writes it down.
    fn actions(&self, input: &Input) -> Result<Actions, Fault> {
        if input.pause_ms > PAUSE_MS_MAX {
            return Err(Fault::invalid(format!("pause_ms is at most {PAUSE_MS_MAX}")));
        }
        Ok(Actions::one(Action::file(Verb::Read, FilePath::parse(&input.path)?)))
    }

    // The future is dropped when the client hangs up, time is up or the server must end, so
    // every `.await` is a place where it can stop.
    async fn run(&self, call: Call, permits: Permits, input: Input) -> Result<Self::Output, Fault> {
        let permit = permits.one()?;
        let mut count = Count { words: 0, bytes: 0 };
        let (mut resume, mut in_word): (Option<Resume>, bool) = (None, false);
        loop {
            // Files are read off the async threads, with the permit and within the budget.
            let (page_permit, from) = (permit.clone(), resume.take());
            let page: TextPage = call
                .blocking(move |budget| read_text(&page_permit, TextRange::Whole, from, budget))
                .await?;
            count.words += words_that_begin(&page.text, &mut in_word);
            count.bytes = page.size;
            // Sent only to clients that asked for it.
            #[expect(clippy::cast_precision_loss, reason = "progress needs no more than 53 bits")]
            let progress = Progress::of(page.bytes.1 as f64, page.size as f64);
            call.progress(progress.saying(format!("{} words", count.words))).await;
            tokio::time::sleep(Duration::from_millis(input.pause_ms)).await;
            match page.resume {
                Some(next) => resume = Some(next),
                None => break,
            }
        }
        let text = format!("{} words in {} bytes", count.words, count.bytes);
        Ok(Structured { value: count, text, note: None })
    }
}

/// How many words begin in `text`; `in_word` says whether the text before ended inside one.
fn words_that_begin(text: &str, in_word: &mut bool) -> u64 {
    let mut words = 0;
    for character in text.chars() {
        let visible = !character.is_whitespace();
        words += u64::from(visible && !*in_word);
        *in_word = visible;
    }
    words
}

#[cfg(test)]
mod tests {
    use super::words_that_begin;

    #[test]
    fn a_word_across_two_pages_counts_once() {
        let mut in_word = false;
        assert_eq!(words_that_begin("one tw", &mut in_word), 2);
        assert_eq!(words_that_begin("o three\n", &mut in_word), 1);
    }
}
