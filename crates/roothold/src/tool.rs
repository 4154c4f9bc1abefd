//! What a tool is: a name, typed input, the actions that a call would take, and the work.
//!
//! A tool decides nothing and formats no protocol: [`crate::call`] asks policy with the tool's
//! [`Tool::actions`], and hands the permits to [`Tool::run`].

use std::future::Future;
use std::pin::Pin;

use rmcp::model::{ContentBlock, JsonObject, ResourceContents, ToolAnnotations};
use roothold_core::{Actions, Fault, Permit};
use roothold_state::Job;
use schemars::JsonSchema;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::call::{Call, Question, Resumed};
use crate::form::Form;
pub(crate) use crate::form::{FirstText, Written};
use crate::long::AsJob;

/// A tool. One file, one `impl Tool`, and one line in the list of tools.
pub trait Tool: Send + Sync + 'static {
    /// The name by which clients call it, policy grants it and metrics label it.
    const NAME: &'static str;
    /// Whether answers come in pages. Such a tool takes `cursor` and `max_bytes` besides its
    /// input, and uses [`Call::resume`] and [`Call::next_cursor`].
    const PAGED: bool = false;
    /// Whether it changes files in the roots. Such a tool is listed only for those who may use a
    /// root in which anything can be changed.
    const WRITES_FILES: bool = false;
    /// The arguments by which a tool writes files that otherwise only reads. For those who can write
    /// nowhere it is listed without them, as a tool that reads.
    #[doc(hidden)]
    const WRITES_BY: &'static [&'static str] = &[];
    /// Whether the actions of a call do not depend on each other: then one that is denied is an
    /// error in its place of [`Permits::each`], and the call goes on with the others.
    const INDEPENDENT: bool = false;
    /// Whether a call may go on as a job, after its answer. Such a tool works in [`Call::long`].
    const AS_JOB: AsJob = AsJob::Never;
    /// What it does with users' databases. Such a tool is listed only for those for whom there is one
    /// that it can be used on.
    #[doc(hidden)]
    const DATABASES: Option<DatabaseUse> = None;
    /// Which limit its time has.
    #[doc(hidden)]
    const PACE: Pace = Pace::Call;
    /// What makes a call shorter that ran out of time: the error says it after how long it ran.
    const WHEN_OVERDUE: Option<&'static str> = None;
    /// The name by which policy grants it.
    #[doc(hidden)]
    const GRANTED_AS: &'static str = Self::NAME;
    /// The arguments. Its schema is the tool's `inputSchema`; unknown arguments are refused when
    /// it says `deny_unknown_fields`.
    type Input: DeserializeOwned + JsonSchema + Send + 'static;
    /// The answer.
    type Output: Reply;

    /// What clients are told of it.
    fn about(&self) -> About;

    /// What a call with this input would touch. Pure: policy sees it before anything happens. A
    /// call with an action of `Verb::Write` runs only once its intent is on the audit log's disk.
    ///
    /// # Errors
    /// `Invalid`, for arguments that make no sense.
    fn actions(&self, input: &Self::Input) -> Result<Actions, Fault>;

    /// What one page of it would touch, where a later page touches less than the whole call: what
    /// lies behind its cursor was decided and recorded with the pages before. Pure, too.
    ///
    /// # Errors
    /// As [`Self::actions`], and for a cursor that cannot be used.
    fn page_actions(&self, input: &Self::Input, _page: &Resumed<'_>) -> Result<Actions, Fault> {
        self.actions(input)
    }

    /// Does the work.
    ///
    /// # Errors
    /// A [`Fault`]; its public text is what the agent reads.
    ///
    /// # Cancellation
    /// The future is dropped when the client hangs up, the deadline passes or the server stops;
    /// work inside [`Call::blocking`] ends at its next look at the budget.
    fn run(
        &self,
        call: Call,
        permits: Permits,
        input: Self::Input,
    ) -> impl Future<Output = Result<Self::Output, Fault>> + Send;
}

/// Which limit the time of a call has that is no job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[doc(hidden)]
pub enum Pace {
    /// `limits.call_timeout_seconds`, or `limits.long_call_timeout_seconds` where it works in steps.
    Call,
    /// `dataset_engine.query_timeout_seconds`.
    #[cfg(feature = "datasets")]
    Query,
    /// As long as the slowest database may take.
    Database,
}

/// What a tool does with users' databases.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[doc(hidden)]
pub enum DatabaseUse {
    /// It reads from them.
    Reads,
    /// It changes them.
    Writes,
}

/// The permits of a call, in the order of its actions.
#[derive(Debug)]
pub struct Permits(Vec<Result<Permit, Fault>>);

impl Permits {
    pub(crate) fn new(permits: Vec<Result<Permit, Fault>>) -> Self {
        Self(permits)
    }

    /// The permit of a call with one action.
    ///
    /// # Errors
    /// The denial of an independent action.
    pub fn one(self) -> Result<Permit, Fault> {
        self.0.into_iter().next().unwrap_or_else(|| Err(Fault::internal("a call without actions")))
    }

    /// Every permit, or for independent actions its denial.
    pub fn each(self) -> impl Iterator<Item = Result<Permit, Fault>> + Send {
        self.0.into_iter()
    }
}

/// What clients are told of a tool.
#[derive(Debug, Clone, Copy)]
pub struct About {
    /// A title for people.
    pub title: &'static str,
    /// What it does and when to use it, for agents.
    pub description: &'static str,
    /// What it does to the world.
    pub effect: Effect,
}

/// What a tool does to the world; all four hints of the protocol follow from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// It changes nothing.
    Reads,
    /// It changes things; the first call may lose something, `idempotent` says that a second
    /// identical one changes nothing more.
    Writes {
        /// Whether something can be lost.
        destructive: bool,
        /// Whether repeating it changes nothing more.
        idempotent: bool,
    },
}

impl Effect {
    pub(crate) fn annotations(self) -> ToolAnnotations {
        let (read_only, destructive, idempotent) = match self {
            Self::Reads => (true, false, true),
            Self::Writes { destructive, idempotent } => (false, destructive, idempotent),
        };
        // The title stands beside the annotations; twice would cost every agent its bytes.
        ToolAnnotations::from_raw(
            None,
            Some(read_only),
            Some(destructive),
            Some(idempotent),
            Some(false),
        )
    }
}

/// The answer of a tool, before it meets the protocol.
#[derive(Debug)]
pub struct Answer {
    /// Without the first text, where the structured form holds that.
    pub(crate) content: Vec<ContentBlock>,
    pub(crate) structured: Option<Form>,
    /// The job that the call became.
    pub(crate) job: Option<Box<Job>>,
    /// What the user must be asked first; nothing was done.
    pub(crate) question: Option<Box<Question>>,
}

impl Answer {
    pub(crate) fn new(content: Vec<ContentBlock>, structured: Option<Form>) -> Self {
        Self { content, structured, job: None, question: None }
    }

    /// The size of the answer in bytes: of its texts and data, or of its structured form where it
    /// has no text.
    pub(crate) fn len(&self) -> usize {
        let block = |block: &ContentBlock| match block {
            ContentBlock::Text(text) => text.text.len(),
            ContentBlock::Image(image) => image.data.len(),
            ContentBlock::Audio(audio) => audio.data.len(),
            ContentBlock::Resource(embedded) => match &embedded.resource {
                ResourceContents::TextResourceContents { text, .. } => text.len(),
                ResourceContents::BlobResourceContents { blob, .. } => blob.len(),
                _ => 0,
            },
            _ => 0,
        };
        let first = self.structured.as_ref().map_or(0, Form::first_text_len);
        let content = first + self.content.iter().map(block).sum::<usize>();
        if content > 0 {
            content
        } else {
            self.structured.as_ref().map_or(0, |form| strings_len(&form.value()))
        }
    }
}

/// The bytes of all texts in a value.
fn strings_len(value: &Value) -> usize {
    match value {
        Value::String(text) => text.len(),
        Value::Array(list) => list.iter().map(strings_len).sum(),
        Value::Object(map) => map.values().map(strings_len).sum(),
        _ => 0,
    }
}

/// Something that a tool can answer with.
pub trait Reply: Send + 'static {
    /// The schema of the structured form, if it has one.
    fn schema() -> Option<JsonObject>;

    /// The answer.
    fn into_answer(self) -> Answer;
}

/// Text that stands for itself, and perhaps a line about it. It has no structured form: a text
/// sent twice costs the agent double.
#[derive(Debug)]
pub struct Text {
    /// The text.
    pub text: String,
    /// One line about it, sent as a second block.
    pub note: Option<String>,
}

impl Reply for Text {
    fn schema() -> Option<JsonObject> {
        None
    }

    fn into_answer(self) -> Answer {
        Answer::new(text_blocks(self.text, self.note), None)
    }
}

/// A value in both forms: structured, and a compact text that says the same.
#[derive(Debug)]
pub struct Structured<T> {
    /// The value; its schema is the tool's `outputSchema`.
    pub value: T,
    /// The same as text.
    pub text: String,
    /// What the text leaves open, such as a cursor, as a second block.
    pub note: Option<String>,
}

impl<T: Serialize + JsonSchema + Send + 'static> Reply for Structured<T> {
    fn schema() -> Option<JsonObject> {
        Some(crate::catalog::schema_of_output::<T>())
    }

    fn into_answer(self) -> Answer {
        let structured = Form::Typed(Box::new(self.value));
        Answer::new(text_blocks(self.text, self.note), Some(structured))
    }
}

/// Blocks of the protocol as they are: images, audio, embedded resources.
#[derive(Debug)]
pub struct Blocks(pub Vec<ContentBlock>);

impl Reply for Blocks {
    fn schema() -> Option<JsonObject> {
        None
    }

    fn into_answer(self) -> Answer {
        Answer::new(self.0, None)
    }
}

/// An answer, or a question to the user before there is one.
#[derive(Debug)]
pub(crate) enum Asks<T> {
    /// What was asked for.
    Answer(T),
    /// What the user must agree to.
    Question(Question),
}

impl<T: Reply> Reply for Asks<T> {
    fn schema() -> Option<JsonObject> {
        T::schema()
    }

    fn into_answer(self) -> Answer {
        match self {
            Self::Answer(answer) => answer.into_answer(),
            Self::Question(question) => {
                let mut answer = Answer::new(Vec::new(), None);
                answer.question = Some(Box::new(question));
                answer
            }
        }
    }
}

pub(crate) fn text_blocks(text: String, note: Option<String>) -> Vec<ContentBlock> {
    let mut content = Vec::with_capacity(2);
    content.push(ContentBlock::text(text));
    content.extend(note.map(ContentBlock::text));
    content
}

pub(crate) type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// A call whose input was parsed: what it would touch, and how to run it.
pub(crate) struct Parsed<'a> {
    pub(crate) actions: Actions,
    #[expect(clippy::type_complexity, reason = "it is written once, here")]
    pub(crate) run:
        Box<dyn FnOnce(Call, Permits) -> BoxFuture<'a, Result<Answer, Fault>> + Send + 'a>,
}

/// A tool without its types, as the catalog holds it.
pub(crate) trait AnyTool: Send + Sync {
    fn name(&self) -> &'static str;
    fn paged(&self) -> bool;
    fn independent(&self) -> bool;
    fn writes_files(&self) -> bool;
    fn as_job(&self) -> AsJob;
    fn pace(&self) -> Pace;
    fn when_overdue(&self) -> Option<&'static str> {
        None
    }
    fn databases(&self) -> Option<DatabaseUse>;
    fn granted_as(&self) -> &'static str;
    fn input_schema(&self) -> JsonObject;
    fn parse(&self, arguments: Value, page: &Resumed<'_>) -> Result<Parsed<'_>, Fault>;
}

impl<T: Tool> AnyTool for T {
    fn name(&self) -> &'static str {
        T::NAME
    }

    fn paged(&self) -> bool {
        T::PAGED
    }

    fn independent(&self) -> bool {
        T::INDEPENDENT
    }

    fn writes_files(&self) -> bool {
        T::WRITES_FILES
    }

    fn as_job(&self) -> AsJob {
        T::AS_JOB
    }

    fn pace(&self) -> Pace {
        T::PACE
    }

    fn when_overdue(&self) -> Option<&'static str> {
        T::WHEN_OVERDUE
    }

    fn databases(&self) -> Option<DatabaseUse> {
        T::DATABASES
    }

    fn granted_as(&self) -> &'static str {
        T::GRANTED_AS
    }

    fn input_schema(&self) -> JsonObject {
        crate::catalog::schema_of_input::<T::Input>()
    }

    fn parse(&self, arguments: Value, page: &Resumed<'_>) -> Result<Parsed<'_>, Fault> {
        let input: T::Input = serde_path_to_error::deserialize(arguments).map_err(|error| {
            let at = error.path().to_string();
            // `.` is the whole: what is missing or unknown is named by the error itself.
            let place = if at == "." { String::new() } else { format!("{at}: ") };
            let reason = error.into_inner();
            // These are taken before the tool sees its arguments.
            let is_unknown =
                reason.to_string().starts_with("unknown field") && !at.contains(['.', '[']);
            let besides = if T::PAGED && is_unknown { ", `cursor`, `max_bytes`" } else { "" };
            Fault::invalid(format!(
                "the arguments do not fit the tool's inputSchema: {place}{reason}{besides}"
            ))
        })?;
        let actions = self.page_actions(&input, page)?;
        let run = move |call: Call, permits: Permits| -> BoxFuture<'_, Result<Answer, Fault>> {
            Box::pin(async move { self.run(call, permits, input).await.map(Reply::into_answer) })
        };
        Ok(Parsed { actions, run: Box::new(run) })
    }
}
