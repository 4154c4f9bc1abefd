//! What a job is: as it is submitted, as its owner sees it, and as a worker holds it.

use std::fmt;
use std::time::Duration;

use roothold_core::FaultKind;

use crate::JobId;
use crate::time::UnixMillis;

/// A job to be submitted.
#[derive(Clone)]
pub struct NewJob {
    /// Its id, made by whoever submits, so that a repeated submission is the same job.
    pub id: JobId,
    /// The principal whose job it is, whose quotas count and who alone may see it.
    pub owner: String,
    /// What kind of work it is; only workers that know the kind claim it.
    pub kind: String,
    /// What it is about, in one line of at most 1024 bytes for its owner, who could not tell it from
    /// others otherwise.
    pub about: Option<String>,
    /// What the work needs to begin. The store does not look into it.
    pub input: Vec<u8>,
    /// How long after its submission it may run at most; then it fails.
    pub deadline: Duration,
    /// How long it is kept after it has ended.
    pub retention: Duration,
    /// How often it may be claimed for one chunk. Then it fails: what
    /// ends every process that runs it must not go through all replicas for ever.
    pub attempts_max: u32,
}

// The input is content and stays out of logs.
impl fmt::Debug for NewJob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NewJob")
            .field("id", &self.id)
            .field("owner", &self.owner)
            .field("kind", &self.kind)
            .field("input_bytes", &self.input.len())
            .finish_non_exhaustive()
    }
}

/// Where a job is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum JobState {
    /// It waits for a worker.
    Queued,
    /// A worker holds it, or held it when it died.
    Running,
    /// It ended with a result.
    Completed,
    /// It ended without one; [`Job::failure`] says why.
    Failed,
    /// It ended because its owner wanted it to.
    Cancelled,
}

impl JobState {
    /// Every state, in the order of a job's life.
    pub const ALL: [Self; 5] =
        [Self::Queued, Self::Running, Self::Completed, Self::Failed, Self::Cancelled];

    /// The word for it, as it is stored.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }

    pub(crate) fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == word)
    }

    /// Whether it may still change.
    pub fn is_live(self) -> bool {
        matches!(self, Self::Queued | Self::Running)
    }
}

/// How far the work has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Progress {
    /// Bytes that have been worked through.
    pub bytes_done: u64,
    /// Bytes that there are, where that is known.
    pub bytes_total: Option<u64>,
    /// Rows, lines or records that have been worked through.
    pub rows: u64,
}

/// Why a job failed, in the form that its owner may read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// The kind of fault.
    pub kind: FaultKind,
    /// What was wrong and what to do next.
    pub public: String,
}

/// A job as its owner sees it. Input, checkpoint, partial result and result are read apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Job {
    /// Its id.
    pub id: JobId,
    /// Its place in the order of submissions; later ones have larger numbers.
    pub seq: u64,
    /// Whose it is.
    pub owner: String,
    /// What kind of work it is.
    pub kind: String,
    /// What it is about, as its owner knows it.
    pub about: Option<String>,
    /// Where it is in its life.
    pub state: JobState,
    /// Whether its owner wants it to stop; once it did it is `Cancelled`.
    pub cancel_asked: bool,
    /// How often it was claimed.
    pub epoch: u64,
    /// How often it was claimed for the chunk that is next, the claim that came to it included.
    pub attempts: u32,
    /// How often it may be.
    pub attempts_max: u32,
    /// Who holds it, or held it last.
    pub worker: Option<String>,
    /// The offset at which the next chunk begins.
    pub next: u64,
    /// Chunks that are committed.
    pub chunks: u64,
    /// Parts of the result that can be read.
    pub parts: u64,
    /// How far it has come.
    pub progress: Progress,
    /// What the last chunk said.
    pub message: Option<String>,
    /// Why it failed, if it did.
    pub failure: Option<Failure>,
    /// When it was submitted.
    pub submitted_at: UnixMillis,
    /// When it was first claimed.
    pub started_at: Option<UnixMillis>,
    /// When it last changed.
    pub updated_at: UnixMillis,
    /// When it must have ended.
    pub deadline_at: UnixMillis,
    /// When it ended.
    pub ended_at: Option<UnixMillis>,
    /// Until when it is kept, once it has ended.
    pub expires_at: Option<UnixMillis>,
}

/// Some of the jobs, newest first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobPage {
    /// The jobs.
    pub jobs: Vec<Job>,
    /// What to give as `before` for the next page, if there is one.
    pub before: Option<u64>,
}

/// The right to a job, as long as nobody else claims it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lease {
    /// The job.
    pub job: JobId,
    /// The fencing token: it grows at every claim, and only the newest may commit.
    pub epoch: u64,
}

/// A claimed job: what a worker needs to begin, or to go on.
#[derive(Clone)]
pub struct Claimed {
    /// The right to it.
    pub lease: Lease,
    /// Whose it is.
    pub owner: String,
    /// What kind of work it is.
    pub kind: String,
    /// What it was submitted with.
    pub input: Vec<u8>,
    /// Where to go on, if a chunk was committed before.
    pub checkpoint: Option<Checkpoint>,
    /// How often it was claimed for the chunk that is next, this time included.
    pub attempts: u32,
    /// How often it may be.
    pub attempts_max: u32,
    /// How long it may still run.
    pub remaining: Duration,
}

impl fmt::Debug for Claimed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Claimed")
            .field("lease", &self.lease)
            .field("owner", &self.owner)
            .field("kind", &self.kind)
            .field("next", &self.checkpoint.as_ref().map(|at| at.next))
            .field("attempts", &self.attempts)
            .finish_non_exhaustive()
    }
}

/// Where a job stands after its last committed chunk.
#[derive(Clone, PartialEq, Eq)]
pub struct Checkpoint {
    /// The offset at which the next chunk begins.
    pub next: u64,
    /// What the chunks before it were folded into.
    pub state: Vec<u8>,
    /// How far it had come.
    pub progress: Progress,
}

impl fmt::Debug for Checkpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Checkpoint")
            .field("next", &self.next)
            .field("state_bytes", &self.state.len())
            .field("progress", &self.progress)
            .finish()
    }
}

/// A chunk that was worked through, to be committed as one.
#[derive(Clone, Default)]
pub struct Commit {
    /// The offset at which the chunk began: that of the last checkpoint, or 0.
    pub from: u64,
    /// The offset at which the next chunk begins; larger than `from`.
    pub next: u64,
    /// What all chunks so far were folded into.
    pub state: Vec<u8>,
    /// How far the work has come.
    pub progress: Progress,
    /// One line about it.
    pub message: Option<String>,
    /// The result so far; it replaces the one before. None leaves that one.
    pub partial: Option<Vec<u8>>,
    /// What this chunk adds to the result; it is appended.
    pub part: Option<Vec<u8>>,
}

impl fmt::Debug for Commit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Commit")
            .field("from", &self.from)
            .field("next", &self.next)
            .field("state_bytes", &self.state.len())
            .finish_non_exhaustive()
    }
}

/// What the holder of a lease is to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Directive {
    /// Go on.
    Go,
    /// The owner wants it to stop: finish it as cancelled.
    Cancel,
    /// Its deadline has passed: finish it as failed.
    Expire,
}

/// How a job ended.
#[derive(Clone, PartialEq, Eq)]
pub enum Outcome {
    /// With this result.
    Completed(Vec<u8>),
    /// Without one.
    Failed(Failure),
    /// Because its owner wanted it to.
    Cancelled,
}

impl Outcome {
    /// The state that it leads to.
    pub fn state(&self) -> JobState {
        match self {
            Self::Completed(_) => JobState::Completed,
            Self::Failed(_) => JobState::Failed,
            Self::Cancelled => JobState::Cancelled,
        }
    }
}

impl fmt::Debug for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Completed(result) => write!(f, "Completed({} bytes)", result.len()),
            Self::Failed(failure) => write!(f, "Failed({})", failure.kind.code()),
            Self::Cancelled => f.write_str("Cancelled"),
        }
    }
}

/// How a worker gives a job back that has not ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Release {
    /// The worker stops: whoever comes next may have it at once, and this does not count as an attempt.
    Drained,
    /// It did not work just now: again after this time. It counts as an attempt.
    RetryAfter(Duration),
}

/// Whose jobs a question is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Whose<'a> {
    /// Those of this owner; others do not exist for the question.
    Of(&'a str),
    /// Everybody's: for whoever operates the server.
    Anyone,
}

impl<'a> Whose<'a> {
    pub(crate) fn owner(self) -> Option<&'a str> {
        match self {
            Self::Of(owner) => Some(owner),
            Self::Anyone => None,
        }
    }
}

/// What of a job's content is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Content {
    /// What it was submitted with.
    Input,
    /// The folded state of its last checkpoint.
    Checkpoint,
    /// The result so far.
    Partial,
    /// The result, of a job that completed.
    Result,
}

impl Content {
    pub(crate) fn slot(self) -> &'static str {
        match self {
            Self::Input => "input",
            Self::Checkpoint => "checkpoint",
            Self::Partial => "partial",
            Self::Result => "result",
        }
    }
}

/// A part of a result.
#[derive(Clone, PartialEq, Eq)]
pub struct Part {
    /// Its place among the parts, from 0.
    pub number: u64,
    /// What the chunk gave.
    pub content: Vec<u8>,
}

impl fmt::Debug for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Part({}, {} bytes)", self.number, self.content.len())
    }
}

/// What a look for jobs that nobody can go on with, or that were kept long enough, did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Expired {
    /// Jobs that were ended: cancelled, past their deadline, or claimed in vain too often.
    pub ended: u64,
    /// Ended jobs that were deleted.
    pub deleted: u64,
}

/// How many jobs there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Waiting for a worker.
    pub queued: u64,
    /// Held by a worker.
    pub running: u64,
    /// Held by a worker whose lease has run out, and claimable.
    pub stalled: u64,
    /// Ended and still kept.
    pub ended: u64,
}
