//! A caller's statement as it is sent, and the server's own word on what it is.

use mysql_async::prelude::Queryable as _;
use mysql_async::{Error, Params, Statement as Prepared, Value};
use mysql_common::named_params::ParsedNamedParams;
use roothold_core::Fault;

use super::error::{self, NOT_PREPARED, PARSE};
use super::session::Session;
use crate::answer::{Parameter, Statement};
use crate::said;
use crate::sql::{self, Beginning, Dialect, Places, line_and_column};

/// What has a plan.
pub(super) const PLANNED: &[&str] =
    &["select", "with", "values", "table", "insert", "update", "delete", "replace"];
/// The words that ask for a plan.
const EXPLAINS: &[&str] = &["explain", "describe", "desc"];
/// The driver looks for `:name` in what it prepares, and where it reads quotes otherwise than the
/// server does it would change a text. It looks at nothing in what it takes for a comment that does
/// not end, which this is to it; to the server it is one that does.
const BLIND: &str = "/**/";

/// A statement of a caller.
pub(super) struct Asked<'a> {
    sql: &'a str,
    /// Where in it what is sent begins: at its first word, or a bracket before it.
    from: usize,
    places: Places,
    first_word: String,
    parameters: &'a [Parameter],
}

impl<'a> Asked<'a> {
    /// Reads a statement that begins with one of `beginnings`.
    ///
    /// # Errors
    /// `Invalid`: it begins with something else, or is written so that it could be read in two ways.
    pub(super) fn of(statement: &'a Statement, beginnings: &[&str]) -> Result<Self, Fault> {
        Self::from(statement, 0, beginnings)
    }

    /// Reads what a statement has from `from` on.
    fn from(statement: &'a Statement, from: usize, beginnings: &[&str]) -> Result<Self, Fault> {
        let sql = statement.sql.as_str();
        if sql::has_live_comment(sql) {
            let text = "comments that the database reads, /*! … */ and /*+ … */, have no place here: write \
                        what they hold, or leave it out";
            return Err(Fault::invalid(text));
        }
        let beginning = sql::beginning(Dialect::MySql, &sql[from..]);
        let known = |beginning: &Beginning| beginnings.contains(&beginning.word.as_str());
        let Some(Beginning { at, word }) = beginning.filter(known) else {
            return Err(said::begins_with(beginnings));
        };
        let from = from + at;
        let places = sql::places(&sql[from..]).map_err(Fault::invalid)?;
        Ok(Self { sql, from, places, first_word: word, parameters: &statement.parameters })
    }

    /// Reads an `EXPLAIN` as the statement that it explains; nothing, if it is none.
    ///
    /// # Errors
    /// `Invalid`: it asks for anything but the plan of a statement.
    pub(super) fn explained(statement: &'a Statement) -> Result<Option<Self>, Fault> {
        let beginning = sql::beginning(Dialect::MySql, &statement.sql);
        let explains = |beginning: &Beginning| {
            let bracket = statement.sql[beginning.at..].starts_with('(');
            !bracket && EXPLAINS.contains(&beginning.word.as_str())
        };
        let Some(Beginning { at, word }) = beginning.filter(explains) else { return Ok(None) };
        let asked = Self::from(statement, at + word.len(), PLANNED).map_err(|fault| {
            if sql::has_live_comment(&statement.sql) {
                return fault;
            }
            let text = "EXPLAIN stands before a statement here, without options; explain_query tells the whole \
                        plan, and describe_schema the columns of a table";
            Fault::invalid(text)
        })?;
        Ok(Some(asked))
    }

    pub(super) fn first_word(&self) -> &str {
        &self.first_word
    }

    pub(super) fn is_ordered(&self) -> bool {
        sql::is_ordered(Dialect::MySql, self.sql)
    }

    /// The text as the server gets it.
    pub(super) fn sent(&self) -> &str {
        &self.places.sql
    }

    /// The line and the column of a place in [`Asked::sent`] in the caller's text.
    pub(super) fn place(&self, at: usize) -> Option<(usize, usize)> {
        line_and_column(self.sql, self.from + self.places.before(at))
    }

    /// The values for the places, as many as the server counts.
    ///
    /// # Errors
    /// `Invalid`: another number was given.
    pub(super) fn values(&self, wanted: usize) -> Result<Params, Fault> {
        let given = self.parameters.len();
        let used = self.places.values.iter().max().map_or(0, |most| most + 1);
        if used != given {
            return Err(said::parameters(used, given));
        }
        if self.places.values.len() != wanted {
            return Err(Fault::invalid("the values do not fit the places of the statement"));
        }
        let value = |at: &usize| bound(&self.parameters[*at].value);
        let values: Vec<Value> = self.places.values.iter().map(value).collect();
        Ok(if values.is_empty() { Params::Empty } else { Params::Positional(values) })
    }
}

/// A value for JSON as one for the server, which converts texts to what a place needs.
fn bound(value: &serde_json::Value) -> Value {
    use serde_json::Value as Json;
    match value {
        Json::Null => Value::NULL,
        Json::Bool(flag) => Value::Int(i64::from(*flag)),
        Json::Number(number) => match (number.as_i64(), number.as_u64()) {
            (Some(number), _) => Value::Int(number),
            (None, Some(number)) => Value::UInt(number),
            (None, None) => Value::Double(number.as_f64().unwrap_or(f64::NAN)),
        },
        Json::String(text) => Value::Bytes(text.clone().into_bytes()),
        other => Value::Bytes(other.to_string().into_bytes()),
    }
}

/// Prepares the statement with `before` in front of it. Nothing of it runs.
pub(super) async fn prepare(
    session: &mut Session,
    before: &str,
    asked: &Asked<'_>,
) -> Result<Result<Prepared, Error>, Fault> {
    let text = format!("{BLIND}{before}{}", asked.sent());
    let untouched = ParsedNamedParams::parse(text.as_bytes());
    if !untouched.is_ok_and(|parsed| parsed.params().is_empty()) {
        let text = "a colon before a name is behind a comment here, which the driver reads as a place; leave the \
                    comments out, and write places as ?";
        return Err(Fault::invalid(text));
    }
    Ok(session.conn()?.prep(text).await)
}

/// What the server explains. With a format it takes no name of a table here, as which it would read
/// `COMMIT`.
pub(super) const EXPLAIN: &str = "EXPLAIN FORMAT=JSON ";

/// Asks the server whether the statement is one that `EXPLAIN` takes: a query, or a change of rows.
/// It is prepared behind that word and not run. What else is wrong with it is not told here: its own
/// preparation will.
pub(super) async fn gate(session: &mut Session, asked: &Asked<'_>) -> Result<(), Fault> {
    match prepare(session, EXPLAIN, asked).await? {
        Ok(prepared) => {
            let closed = session.conn()?.close(prepared).await;
            closed.map_err(|error| error::fault(&error, None, 0))
        }
        Err(Error::Server(refused)) if !matches!(refused.code, PARSE | NOT_PREPARED) => Ok(()),
        Err(error) => Err(error::fault(&error, Some(asked), session.bytes_max())),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const SELECT: &[&str] = &["select"];

    #[test]
    fn values_come_in_the_order_of_their_places() {
        let statement = Statement {
            sql: "select ?2, ?1, ?2".to_owned(),
            parameters: vec![json!(1).into(), json!("x'y").into()],
        };
        let asked = Asked::of(&statement, SELECT).unwrap();
        let text = || Value::Bytes(b"x'y".to_vec());
        assert_eq!(asked.sent(), "select ?, ?, ?");
        let values = asked.values(3).unwrap();
        assert_eq!(values, Params::Positional(vec![text(), Value::Int(1), text()]));
        let few = asked.values(2).unwrap_err();
        assert!(few.public().contains("do not fit the places"), "{few}");
    }

    #[test]
    fn values_that_fit_no_place_are_refused() {
        let of = |sql: &str, count: usize| {
            let parameters = vec![json!(1).into(); count];
            let statement = Statement { sql: sql.to_owned(), parameters };
            let asked =
                Asked::of(&statement, SELECT).map(|asked| asked.values(asked.places.values.len()));
            asked.and_then(|values| values).map(drop).map_err(|fault| fault.public().to_owned())
        };
        assert!(of("select ?", 1).is_ok() && of("select 1", 0).is_ok());
        assert!(of("select ?", 0).unwrap_err().contains("has 1 parameters and 0 values"));
        assert!(of("select 1", 1).unwrap_err().contains("has 0 parameters and 1 values"));
        assert!(of("select ?1", 2).unwrap_err().contains("has 1 parameters and 2 values"));
        assert!(of("select ?99999999999999999999", 1).is_err());
    }

    #[test]
    fn a_statement_that_can_be_read_in_two_ways_is_refused() {
        for sql in [
            "select 1 /*! union select 2 */",
            "/*!select*/ 1",
            "select /*+ x */ 1",
            "delete from t",
            "",
            "/* select */",
        ] {
            assert!(Asked::of(&Statement::new(sql), SELECT).is_err(), "{sql}");
        }
    }

    #[test]
    fn the_driver_changes_no_text() {
        for sql in [
            "select 5-'1:b'",
            "select 6/'a:b'",
            "select ':a'",
            "select :a",
            "select @a:=1",
            "select '?', ?",
        ] {
            let text = format!("{BLIND}{sql}");
            let parsed = ParsedNamedParams::parse(text.as_bytes()).unwrap();
            assert_eq!(parsed.query(), text.as_bytes());
        }
    }

    #[test]
    fn numbers_keep_their_size() {
        assert_eq!(bound(&json!(u64::MAX)), Value::UInt(u64::MAX));
        assert_eq!(bound(&json!(-1)), Value::Int(-1));
        assert_eq!(bound(&json!(0.5)), Value::Double(0.5));
        assert_eq!(bound(&json!(true)), Value::Int(1));
        assert_eq!(bound(&json!({"a": 1})), Value::Bytes(b"{\"a\":1}".to_vec()));
    }
}
