//! What went wrong inside DataFusion, as a fault: what is about the query is said, what could hold
//! content of files is not.

use std::error::Error as StdError;

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
            invalid(message)
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
        error = inner.source();
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
