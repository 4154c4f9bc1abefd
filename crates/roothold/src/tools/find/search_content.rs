//! `search_content`: lines of files that match a pattern.
//!
//! `pattern` is a regular expression unless `literal` says otherwise: agents know it so from the
//! tools they have, and a text that is no regular expression is refused with the hint to set
//! `literal`, while an expression that was taken literally would silently find nothing.

mod page;

use roothold_core::files::{
    At, CONTEXT_LINES_MAX, Pattern, PatternSpec, Position, Search, Shows, search,
};
use roothold_core::{Action, Actions, Fault, FilePath, PathGlobs, PatternError, Verb};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::call::Call;
use crate::tool::{About, Effect, Permits, Structured, Tool};
use crate::tools::page::Place;
use page::{Counted, Page, Taking};

pub(in crate::tools) struct SearchContent;

/// The longest part of a line that is shown, in bytes; less where the page is small.
const LINE_BYTES_MAX: usize = 512;

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is an argument that agents know by its name"
)]
pub(in crate::tools) struct Input {
    /// A file or directory.
    path: String,
    /// A regular expression, by line.
    pattern: String,
    /// Plain text.
    #[serde(default)]
    literal: bool,
    /// Ignore case.
    #[serde(default)]
    ignore_case: bool,
    /// Whole words.
    #[serde(default)]
    word: bool,
    /// May span lines.
    #[serde(default)]
    multiline: bool,
    /// Lines around, up to 100.
    context: Option<usize>,
    /// Lines before.
    before: Option<usize>,
    /// Lines after.
    after: Option<usize>,
    /// Globs such as `**/*.rs`.
    #[serde(default)]
    include: Vec<String>,
    /// Globs to leave out.
    #[serde(default, rename = "excludePatterns")]
    exclude_patterns: Vec<String>,
    /// Obey .gitignore.
    #[serde(default)]
    gitignore: bool,
    /// Default: lines.
    #[serde(default)]
    output: Output,
    /// Most lines of a file.
    max_per_file: Option<u64>,
    /// Most lines or files.
    max_matches: Option<u64>,
}

#[derive(Deserialize, JsonSchema, Default, Clone, Copy)]
#[serde(rename_all = "snake_case")]
enum Output {
    #[default]
    Lines,
    Files,
    Counts,
}

/// Where a page ended; what was counted until then.
#[derive(Serialize, Deserialize)]
struct Cursor {
    #[serde(rename = "p")]
    place: Place,
    #[serde(rename = "a")]
    at: Option<At>,
    #[serde(rename = "c")]
    counted: Counted,
}

impl Tool for SearchContent {
    const NAME: &'static str = "search_content";
    const PAGED: bool = true;
    const WHEN_OVERDUE: Option<&'static str> = Some(
        "ask for less, such as a smaller directory, or with a simpler pattern: count less in `{n,m}`, above all of groups in groups, or set literal",
    );
    type Input = Input;
    type Output = Structured<Page>;

    fn about(&self) -> About {
        About {
            title: "Search Content",
            description: "Finds lines that match a pattern, in a file or all files below a directory. Skips binary files.",
            effect: Effect::Reads,
        }
    }

    fn actions(&self, input: &Input) -> Result<Actions, Fault> {
        Ok(Actions::one(Action::file(Verb::Search, FilePath::parse(&input.path)?)))
    }

    async fn run(&self, call: Call, permits: Permits, input: Input) -> Result<Self::Output, Fault> {
        let permit = permits.one()?;
        let cursor: Option<Cursor> = call.resume()?;
        let counted = cursor.as_ref().map_or(Counted::default(), |cursor| cursor.counted);
        let from = cursor.map(|cursor| Position { below: cursor.place.into(), at: cursor.at });
        let most = positive("max_matches", input.max_matches)?;
        let wants_files = !input.include.is_empty();
        let sealing = call.clone();
        call.blocking_with_progress(move |budget, teller| {
            let wanted = wanted(input, budget.result_bytes_max)?;
            let mut taking = Taking::new(&sealing, &wanted, counted, most, teller);
            let searched = search(&permit, &wanted, from.as_ref(), budget, &mut taking)?;
            let counted = taking.counted_with(&searched.totals);
            let next_cursor = match searched.next {
                None => None,
                Some(Position { below, at }) => {
                    Some(sealing.next_cursor(&Cursor { place: Place::from(below), at, counted })?)
                }
            };
            let problems = (searched.problems, searched.problems_omitted);
            Ok(taking.page(counted, next_cursor, problems, wants_files))
        })
        .await
    }
}

/// The arguments as the search takes them.
fn wanted(input: Input, page_bytes: usize) -> Result<Search, Fault> {
    // The pattern itself may name what must not be named.
    let invalid =
        |error: PatternError| Fault::invalid(format!("a glob is refused: {}", error.reason));
    let context = input.context.unwrap_or(0);
    let before = input.before.unwrap_or(context);
    let after = input.after.unwrap_or(context);
    if before.max(after) > CONTEXT_LINES_MAX {
        return Err(Fault::invalid(format!(
            "context has at most {CONTEXT_LINES_MAX} lines on each side; read the file for more"
        )));
    }
    let include = match &input.include[..] {
        [] => None,
        globs => Some(PathGlobs::new(globs).map_err(invalid)?),
    };
    Ok(Search {
        pattern: Pattern::new(&PatternSpec {
            text: input.pattern,
            literal: input.literal,
            ignore_case: input.ignore_case,
            word: input.word,
            multiline: input.multiline,
        })?,
        include,
        exclude: PathGlobs::new(&input.exclude_patterns).map_err(invalid)?,
        gitignore: input.gitignore,
        shows: match input.output {
            Output::Lines => Shows::Lines,
            Output::Files => Shows::Files,
            Output::Counts => Shows::Counts,
        },
        before,
        after,
        matches_per_file_max: positive("max_per_file", input.max_per_file)?,
        line_bytes_max: LINE_BYTES_MAX.min(page_bytes / 8),
    })
}

fn positive(name: &str, value: Option<u64>) -> Result<u64, Fault> {
    match value {
        Some(0) => Err(Fault::invalid(format!("{name} must be 1 or more"))),
        Some(most) => Ok(most),
        None => Ok(u64::MAX),
    }
}
