//! The long tools of the fixture as tools of Roothold's library: what makes tasks of them is the
//! product's own code, with a store that outlives the process.
//!
//! They wait, step by step, and end as they are told. Invariant: a task is nothing but a job of the
//! library; nothing here knows the protocol.

use std::time::Duration;

use roothold::core::{Action, Actions, Fault};
use roothold::schemars::{self, JsonSchema};
use roothold::{
    About, AsJob, Call, Chunk, Effect, Long, Permits, Resume, Step, Steps, Text, Tool, Wish,
};
use serde::{Deserialize, Serialize};

/// The longest that `slow_compute` may be told to take, in seconds.
const SECONDS_MAX: f64 = 60.0;
/// How long one step takes at most.
const STEP: Duration = Duration::from_millis(250);

/// Waits as long as it is told.
pub(crate) struct SlowCompute;
/// Ends with an error of the tool.
pub(crate) struct FailingJob;
/// Ends with an error of the protocol.
pub(crate) struct ProtocolErrorJob;
/// Greets who was asked for their name before.
pub(crate) struct ToolWithTask;

/// What `slow_compute` is told.
#[derive(Deserialize, JsonSchema)]
pub(crate) struct Slow {
    /// How long it takes.
    seconds: Option<f64>,
    /// What it is called.
    label: Option<String>,
}

/// Nothing is told.
#[derive(Deserialize, JsonSchema)]
pub(crate) struct Nothing {}

/// Who is greeted.
#[derive(Deserialize, JsonSchema)]
pub(crate) struct Name {
    /// The name.
    name: Option<String>,
}

fn about(description: &'static str) -> About {
    About { title: "Fixture", description, effect: Effect::Reads }
}

fn nothing_touched() -> Actions {
    Actions::one(Action::named("fixture", None))
}

impl Tool for SlowCompute {
    const NAME: &'static str = "slow_compute";
    const AS_JOB: AsJob = AsJob::Maybe;
    type Input = Slow;
    type Output = Long<Text>;

    fn about(&self) -> About {
        about("Waits as long as it is told")
    }

    fn actions(&self, _: &Slow) -> Result<Actions, Fault> {
        Ok(nothing_touched())
    }

    async fn run(&self, call: Call, _: Permits, input: Slow) -> Result<Long<Text>, Fault> {
        let seconds = input.seconds.filter(|seconds| !seconds.is_nan()).unwrap_or(1.0);
        let seconds = seconds.clamp(0.0, SECONDS_MAX);
        let label = input.label.unwrap_or_else(|| "compute".to_owned());
        let text = format!("slow_compute({label}) is done after {seconds} s");
        wait(&call, Duration::from_secs_f64(seconds), End::Says(text)).await
    }
}

impl Tool for FailingJob {
    const NAME: &'static str = "failing_job";
    const AS_JOB: AsJob = AsJob::Only;
    type Input = Nothing;
    type Output = Long<Text>;

    fn about(&self) -> About {
        about("Ends with a tool error")
    }

    fn actions(&self, _: &Nothing) -> Result<Actions, Fault> {
        Ok(nothing_touched())
    }

    async fn run(&self, call: Call, _: Permits, _: Nothing) -> Result<Long<Text>, Fault> {
        wait(&call, Duration::from_secs(1), End::Fails).await
    }
}

impl Tool for ProtocolErrorJob {
    const NAME: &'static str = "protocol_error_job";
    const AS_JOB: AsJob = AsJob::Maybe;
    type Input = Nothing;
    type Output = Long<Text>;

    fn about(&self) -> About {
        about("Ends with a protocol error")
    }

    fn actions(&self, _: &Nothing) -> Result<Actions, Fault> {
        Ok(nothing_touched())
    }

    async fn run(&self, call: Call, _: Permits, _: Nothing) -> Result<Long<Text>, Fault> {
        wait(&call, Duration::from_millis(200), End::Breaks).await
    }
}

impl Tool for ToolWithTask {
    const NAME: &'static str = "test_tool_with_task";
    const AS_JOB: AsJob = AsJob::Only;
    type Input = Name;
    type Output = Long<Text>;

    fn about(&self) -> About {
        about("Greets as a task")
    }

    fn actions(&self, _: &Name) -> Result<Actions, Fault> {
        Ok(nothing_touched())
    }

    async fn run(&self, call: Call, _: Permits, input: Name) -> Result<Long<Text>, Fault> {
        let name = input.name.unwrap_or_else(|| "friend".to_owned());
        let text = format!("Hello, {name}! (from a task)");
        wait(&call, Duration::from_millis(200), End::Says(text)).await
    }
}

/// How the work ends.
enum End {
    Says(String),
    Fails,
    Breaks,
}

async fn wait(call: &Call, time: Duration, end: End) -> Result<Long<Text>, Fault> {
    let begin = |resume: Option<Resume>| async move {
        let at = match resume {
            Some(resume) => serde_json::from_slice(&resume.state).map_err(Fault::internal)?,
            None => At::default(),
        };
        Ok(Waiting { at, time, end })
    };
    call.long(Wish::new(None).long(true), begin).await
}

/// Work that waits.
struct Waiting {
    at: At,
    time: Duration,
    end: End,
}

/// How far it is.
#[derive(Default, Serialize, Deserialize)]
struct At {
    steps: u64,
    waited_ms: u64,
}

impl Steps for Waiting {
    type Answer = Text;

    async fn step(&mut self, _: &Call) -> Result<Step<Text>, Fault> {
        let left = self.time.saturating_sub(Duration::from_millis(self.at.waited_ms));
        if left < Duration::from_millis(1) {
            return match &self.end {
                End::Says(text) => Ok(Step::Done(Text { text: text.clone(), note: None })),
                End::Fails => Err(Fault::invalid("failing_job fails, as it is meant to")),
                End::Breaks => Err(Fault::internal("protocol_error_job fails, as it is meant to")),
            };
        }
        let pause = left.min(STEP);
        tokio::time::sleep(pause).await;
        self.at.steps += 1;
        self.at.waited_ms += u64::try_from(pause.as_millis()).unwrap_or(u64::MAX).max(1);
        let message = format!("Processed: {} ms", self.at.waited_ms);
        Ok(Step::Chunk(Chunk { next: self.at.steps, message, ..Chunk::default() }))
    }

    async fn state(&mut self) -> Result<Vec<u8>, Fault> {
        serde_json::to_vec(&self.at).map_err(Fault::internal)
    }
}
