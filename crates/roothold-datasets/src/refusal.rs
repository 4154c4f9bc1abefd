//! What went wrong inside DataFusion, as a fault: what is about the query is said, what could hold
//! content of files is not.

use std::error::Error as StdError;
use std::io;

use datafusion::arrow::error::ArrowError;
use datafusion::error::DataFusionError;
use roothold_core::{Fault, FaultKind};

/// The longest message of a planner that is passed on, in characters.
const MESSAGE_CHARS_MAX: usize = 400;

/// The fault for an error.
pub(crate) fn fault_of(error: &DataFusionError) -> Fault {
    if let Some(fault) = fault_in(error) {
        return fault;
    }
    match error.find_root() {
        DataFusionError::ResourcesExhausted(message) => exhausted(message),
        DataFusionError::SQL(parse, _) => invalid(&parse.to_string()),
        DataFusionError::Plan(message) | DataFusionError::NotImplemented(message) => {
            mismatched(message).unwrap_or_else(|| invalid(message))
        }
        DataFusionError::SchemaError(schema, _) => invalid(&schema.to_string()),
        DataFusionError::Diagnostic(_, inner) => fault_of(inner),
        DataFusionError::Collection(errors) if !errors.is_empty() => fault_of(&errors[0]),
        DataFusionError::ArrowError(arrow, _) => of_arrow(arrow),
        DataFusionError::ParquetError(_) => Fault::invalid(
            "a Parquet file is damaged, or is Parquet of a kind that is not read; write it again",
        ),
        DataFusionError::Execution(_) | DataFusionError::External(_) => failed(),
        _ => Fault::internal("a query failed inside DataFusion"),
    }
}

/// A fault that was raised below and wrapped on its way.
pub(crate) fn fault_in(error: &(dyn StdError + 'static)) -> Option<Fault> {
    let mut error = Some(error);
    while let Some(inner) = error {
        if let Some(fault) = inner.downcast_ref::<Fault>() {
            return Some(fault.again());
        }
        // What an error of input or output was made of is not its source, but itself.
        let wrapped = inner.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        error =
            wrapped.map(|wrapped| wrapped as &(dyn StdError + 'static)).or_else(|| inner.source());
    }
    None
}

fn of_arrow(error: &ArrowError) -> Fault {
    match error {
        ArrowError::DivideByZero => {
            Fault::invalid("the query divides by zero; divide by nullif(x, 0)")
        }
        ArrowError::ArithmeticOverflow(_) => Fault::invalid(
            "a number of the query is too large for its type; cast to double or decimal",
        ),
        ArrowError::CastError(_) | ArrowError::ParseError(_) => Fault::invalid(
            "a value cannot be cast to the type that the query asks for; use try_cast, which gives null",
        ),
        ArrowError::MemoryError(message) => exhausted(message),
        _ => failed(),
    }
}

fn failed() -> Fault {
    Fault::invalid(
        "the query cannot be computed over these values; use try_cast, coalesce or a narrower WHERE",
    )
}

fn exhausted(message: &str) -> Fault {
    let what = if message.contains("disk") || message.contains("temp") {
        "the query needs more temporary disk space than it may use; select or group by fewer rows"
    } else {
        "the query needs more memory than it may use; select fewer columns, or group and sort fewer rows"
    };
    // The message names operators and sizes, no content.
    Fault::new(FaultKind::Limit, what).with_source(message.to_owned())
}

/// The name in the planner's words for a table that is not there, without what it puts before it.
pub(crate) fn unknown_table(message: &str) -> Option<&str> {
    let line = message.split("\n\nbacktrace").next()?.trim();
    let name = line.strip_prefix("table '")?.strip_suffix("' not found")?;
    let engine = "datafusion.";
    let name = name.strip_prefix(engine).unwrap_or(name);
    Some(name.strip_prefix("public.").unwrap_or(name))
}

/// What a function was given in place of what it takes, as the planner's words have it: the rest of
/// them tells of all that it tried.
fn mismatched(message: &str) -> Option<Fault> {
    let call = message.split("No function matches the given name and argument types '").nth(1)?;
    let call = call.split('\'').next()?;
    let (function, kinds) = call.strip_suffix(')')?.split_once('(')?;
    Some(Fault::invalid(format!(
        "the query is refused: the function {} takes no {}; cast what it is given, such as try_cast(x AS double)",
        crate::shown::name(function),
        in_words(kinds)
    )))
}

/// The engine's names of types, as they are called elsewhere.
fn in_words(kinds: &str) -> String {
    let word = |kind: &str| match kind.trim() {
        "Utf8" | "LargeUtf8" | "Utf8View" => "text".to_owned(),
        "Int8" | "Int16" | "Int32" | "Int64" | "UInt8" | "UInt16" | "UInt32" | "UInt64" => {
            "integer".to_owned()
        }
        "Float16" | "Float32" | "Float64" => "number".to_owned(),
        "Date32" | "Date64" => "date".to_owned(),
        other => crate::shown::name(other).to_lowercase(),
    };
    // Types that have types in them have commas, too.
    if kinds.contains(['(', '<']) {
        return crate::shown::name(kinds);
    }
    kinds.split(',').map(word).collect::<Vec<_>>().join(", ")
}

/// The fault for a query that is refused, with what the parser or the planner says.
pub(crate) fn invalid(message: &str) -> Fault {
    let line = message.split("\n\nbacktrace").next().unwrap_or_default().trim();
    let line = line.strip_suffix('.').unwrap_or(line);
    let mut shown: String = line.chars().take(MESSAGE_CHARS_MAX).collect();
    let is_word = shown.chars().nth(1).is_some_and(char::is_lowercase);
    if let Some(first) = shown.get_mut(..1).filter(|_| is_word) {
        first.make_ascii_lowercase();
    }
    Fault::invalid(format!("the query is refused: {}", crate::shown::cell(&shown)))
}
