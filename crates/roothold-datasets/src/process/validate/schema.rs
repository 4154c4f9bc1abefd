//! A JSON Schema that each record is held against.
//!
//! Whoever asks writes the schema, and others the records: so that no record can take for ever, what
//! holding one against the schema can cost at most is reckoned beforehand (`cost`), patterns run in
//! linear time, and nothing is fetched.

mod cost;

use jsonschema::{PatternOptions, Validator};
use roothold_core::{Fault, FaultKind};
use serde_json::Value;

use super::super::values::brief;

/// The largest schema, in bytes.
const SCHEMA_BYTES_MAX: usize = 64 * 1024;
/// The longest record that is held against a schema, in bytes.
pub(super) const RECORD_BYTES_MAX: usize = 1024 * 1024;
/// How much a compiled pattern may take, and what is kept of running it, in bytes.
const PATTERN_BYTES_MAX: usize = 64 * 1024;
const PATTERN_STATES_BYTES_MAX: usize = 512 * 1024;
/// The most of a reason that quotes a record, and of a path within one, in bytes.
const REASON_BYTES_MAX: usize = 120;
const PATH_BYTES_MAX: usize = 100;

/// A schema, ready to be asked.
pub(super) struct RecordSchema(Validator);

impl RecordSchema {
    /// Compiles a schema.
    ///
    /// # Errors
    /// `Limit` for one that is too large or could cost too much; `Unsupported` for references beyond
    /// it; `Invalid` for what is no schema.
    pub(super) fn new(schema: &Value) -> Result<Self, Fault> {
        if schema.to_string().len() > SCHEMA_BYTES_MAX {
            let what = format!("the schema is longer than {SCHEMA_BYTES_MAX} bytes");
            return Err(Fault::new(FaultKind::Limit, what));
        }
        if !schema.is_object() && !schema.is_boolean() {
            return Err(Fault::invalid("schema is a JSON Schema: an object"));
        }
        cost::check(schema)?;
        let patterns = PatternOptions::regex()
            .size_limit(PATTERN_BYTES_MAX)
            .dfa_size_limit(PATTERN_STATES_BYTES_MAX);
        let options = jsonschema::options()
            .offline()
            .with_pattern_options(patterns)
            .should_validate_formats(true);
        options.build(schema).map(Self).map_err(|error| {
            let place = brief(error.instance_path().as_str(), PATH_BYTES_MAX);
            let why = brief(&error.to_string(), REASON_BYTES_MAX);
            Fault::invalid(format!(
                "the schema is refused at {place:?}: {why}; patterns have no look-around and no back-references"
            ))
        })
    }

    /// What is wrong with a record first, with the path within it.
    pub(super) fn wrong(&self, record: &Value) -> Option<String> {
        if self.0.is_valid(record) {
            return None;
        }
        let error = self.0.validate(record).err()?;
        let path = match error.instance_path().as_str() {
            "" => "the record".to_owned(),
            path => brief(path, PATH_BYTES_MAX),
        };
        Some(format!("{path}: {}", brief(&error.to_string(), REASON_BYTES_MAX)))
    }
}

#[cfg(test)]
mod tests;
