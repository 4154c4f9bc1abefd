//! A tool whose work is long: it is done in steps, can go on as a job after its answer, and is taken
//! up again from its last step by whichever replica has room, also after a crash.
//!
//! What makes it so: `AS_JOB`, the answer `Long`, and [`roothold::Steps`] for the work.

use std::time::Duration;

use roothold::core::files::{Resume as Place, TextPage, TextRange, read_text};
use roothold::core::{Action, Actions, Fault, FilePath, Permit, Verb};
use roothold::schemars::{self, JsonSchema};
use roothold::{
    About, AsJob, Call, Chunk, Effect, Long, Permits, Resume, Step, Steps, Structured, Tool, Wish,
};
use serde::{Deserialize, Serialize};

/// The longest pause between two steps that a caller can ask for, in milliseconds.
const PAUSE_MS_MAX: u64 = 5000;

pub(crate) struct CountLines;

/// Counts the lines of a text file.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Input {
    /// The file.
    path: String,
    /// A pause after each step in milliseconds, at most 5000.
    #[serde(default)]
    #[schemars(range(max = 5000))]
    pause_ms: u64,
    /// true: answer at once with a job, which get_job then tells of; false: never
    background: Option<bool>,
}

#[derive(Serialize, JsonSchema)]
pub(crate) struct Count {
    /// Line breaks.
    lines: u64,
    /// Bytes that were looked at.
    bytes: u64,
    /// In how many steps.
    steps: u64,
}

impl Tool for CountLines {
    const NAME: &'static str = "count_lines";
    const AS_JOB: AsJob = AsJob::Maybe;
    type Input = Input;
    type Output = Long<Structured<Count>>;

    fn about(&self) -> About {
        About {
            title: "Count Lines",
            description: "Counts the lines of a text file of any size.",
            effect: Effect::Reads,
        }
    }

    fn actions(&self, input: &Input) -> Result<Actions, Fault> {
        if input.pause_ms > PAUSE_MS_MAX {
            return Err(Fault::invalid(format!("pause_ms is at most {PAUSE_MS_MAX}")));
        }
        Ok(Actions::one(Action::file(Verb::Read, FilePath::parse(&input.path)?)))
    }

    // For a job this runs twice: for the call that begins it, where `long` returns at once, and in
    // the worker that does it, where policy has decided again.
    async fn run(&self, call: Call, permits: Permits, input: Input) -> Result<Self::Output, Fault> {
        let permit = permits.one()?;
        let wish = Wish::new(input.background).long(input.pause_ms > 0).about(input.path);
        let pause = Duration::from_millis(input.pause_ms);
        call.long(wish, |resume| async move { Counting::begin(permit, pause, resume) }).await
    }
}

/// The work, between two steps.
struct Counting {
    permit: Permit,
    pause: Duration,
    at: At,
}

/// All that must be known to go on: it is what the checkpoint holds.
#[derive(Default, Serialize, Deserialize)]
struct At {
    place: Option<Place>,
    lines: u64,
    bytes: u64,
    size: u64,
    steps: u64,
    ended: bool,
}

impl At {
    /// What was counted by now.
    fn count(&self) -> Structured<Count> {
        let Self { lines, bytes, steps, .. } = *self;
        let text = format!("{lines} lines in {bytes} bytes, counted in {steps} steps");
        Structured { value: Count { lines, bytes, steps }, text, note: None }
    }
}

impl Counting {
    fn begin(permit: Permit, pause: Duration, resume: Option<Resume>) -> Result<Self, Fault> {
        let at = match resume {
            Some(resume) => serde_json::from_slice(&resume.state).map_err(Fault::internal)?,
            None => At::default(),
        };
        Ok(Self { permit, pause, at })
    }
}

impl Steps for Counting {
    type Answer = Structured<Count>;

    async fn step(&mut self, call: &Call) -> Result<Step<Self::Answer>, Fault> {
        if self.at.ended {
            return Ok(Step::Done(self.at.count()));
        }
        let (permit, from) = (self.permit.clone(), self.at.place.take());
        let page: TextPage =
            call.blocking(move |budget| read_text(&permit, TextRange::Whole, from, budget)).await?;
        tokio::time::sleep(self.pause).await;
        let at = &mut self.at;
        at.lines += page.text.matches('\n').count() as u64;
        (at.bytes, at.size) = (page.bytes.1, page.size);
        at.steps += 1;
        at.ended = page.resume.is_none();
        at.place = page.resume;
        Ok(Step::Chunk(Chunk {
            next: at.steps,
            bytes_done: at.bytes,
            bytes_total: Some(at.size),
            rows: at.lines,
            message: format!("Processed: {} lines", at.lines),
            part: None,
        }))
    }

    async fn state(&mut self) -> Result<Vec<u8>, Fault> {
        serde_json::to_vec(&self.at).map_err(Fault::internal)
    }

    async fn partial(&mut self) -> Result<Option<Self::Answer>, Fault> {
        Ok(Some(self.at.count()))
    }
}
