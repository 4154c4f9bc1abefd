//! The functions that a statement may use: those that look at their arguments and at nothing else, and
//! take no more time than these have bytes. A function is one step, which nobody can stop, so that
//! those of SQLite which compare every part of one text with every part of another are not among them, or
//! are made anew here.

use std::borrow::Cow;
use std::collections::HashSet;

use rusqlite::functions::{Context, FunctionFlags};
use rusqlite::types::{Value, ValueRef};
use rusqlite::{Connection, Error};

const ALLOWED: &[&str] = &[
    "->",
    "->>",
    "abs",
    "acos",
    "acosh",
    "asin",
    "asinh",
    "atan",
    "atan2",
    "atanh",
    "avg",
    "bm25",
    "ceil",
    "ceiling",
    "char",
    "coalesce",
    "concat",
    "concat_ws",
    "cos",
    "cosh",
    "count",
    "cume_dist",
    "current_date",
    "current_time",
    "current_timestamp",
    "date",
    "datetime",
    "degrees",
    "dense_rank",
    "exp",
    "first_value",
    "floor",
    "format",
    "glob",
    "group_concat",
    "hex",
    "highlight",
    "if",
    "ifnull",
    "iif",
    "instr",
    "json",
    "json_array",
    "json_array_insert",
    "json_array_length",
    "json_error_position",
    "json_extract",
    "json_group_array",
    "json_group_object",
    "json_insert",
    "json_object",
    "json_pretty",
    "json_quote",
    "json_remove",
    "json_replace",
    "json_set",
    "json_type",
    "json_valid",
    "jsonb",
    "jsonb_array",
    "jsonb_array_insert",
    "jsonb_extract",
    "jsonb_group_array",
    "jsonb_group_object",
    "jsonb_insert",
    "jsonb_object",
    "jsonb_remove",
    "jsonb_replace",
    "jsonb_set",
    "julianday",
    "lag",
    "last_value",
    "lead",
    "length",
    "like",
    "likelihood",
    "likely",
    "ln",
    "log",
    "log10",
    "log2",
    "lower",
    "ltrim",
    "match",
    "matchinfo",
    "max",
    "median",
    "min",
    "mod",
    "nth_value",
    "ntile",
    "nullif",
    "octet_length",
    "offsets",
    "percent_rank",
    "percentile",
    "percentile_cont",
    "percentile_disc",
    "pi",
    "pow",
    "power",
    "printf",
    "quote",
    "radians",
    "random",
    "randomblob",
    "rank",
    "replace",
    "round",
    "row_number",
    "rtrim",
    "sign",
    "sin",
    "sinh",
    "snippet",
    "soundex",
    "sqlite_version",
    "sqrt",
    "strftime",
    "string_agg",
    "substr",
    "substring",
    "subtype",
    "sum",
    "tan",
    "tanh",
    "time",
    "timediff",
    "total",
    "trim",
    "trunc",
    "typeof",
    "unicode",
    "unistr",
    "unistr_quote",
    "unixepoch",
    "unlikely",
    "upper",
    "zeroblob",
];

/// Whether a statement may use the function.
pub(super) fn is_allowed(name: &str) -> bool {
    ALLOWED.binary_search(&name.to_lowercase().as_str()).is_ok()
}

/// Puts functions of the same meaning in the place of those of SQLite that are too slow.
pub(super) fn replace_slow(conn: &Connection) -> rusqlite::Result<()> {
    let flags = FunctionFlags::SQLITE_UTF8
        | FunctionFlags::SQLITE_DETERMINISTIC
        | FunctionFlags::SQLITE_INNOCUOUS;
    conn.create_scalar_function("instr", 2, flags, |asked| instr(asked))?;
    conn.create_scalar_function("replace", 3, flags, |asked| replace(asked))?;
    for (name, left, right) in
        [("trim", true, true), ("ltrim", true, false), ("rtrim", false, true)]
    {
        for count in [1, 2] {
            conn.create_scalar_function(name, count, flags, move |asked| trim(asked, left, right))?;
        }
    }
    Ok(())
}

/// A value as SQLite casts it to text; nothing for NULL.
fn bytes<'a>(asked: &'a Context<'_>, at: usize) -> Option<Cow<'a, [u8]>> {
    match asked.get_raw(at) {
        ValueRef::Null => None,
        ValueRef::Text(bytes) | ValueRef::Blob(bytes) => Some(Cow::Borrowed(bytes)),
        ValueRef::Integer(number) => Some(Cow::Owned(number.to_string().into_bytes())),
        ValueRef::Real(number) => Some(Cow::Owned(real(number).into_bytes())),
    }
}

/// A number as SQLite writes it: 15 digits, and a point always.
fn real(number: f64) -> String {
    const DIGITS: i32 = 15;
    if number.is_infinite() {
        return if number > 0.0 { "Inf" } else { "-Inf" }.to_owned();
    }
    // It has no negative zero.
    let number = number + 0.0;
    let written = format!("{number:.14e}");
    let (digits, exponent) = written.split_once('e').unwrap_or((&written, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    let with_point = |text: &str| {
        let short = text.trim_end_matches('0');
        if short.ends_with('.') { format!("{short}0") } else { short.to_owned() }
    };
    if (-4..=DIGITS).contains(&exponent) {
        let places = usize::try_from(DIGITS - 1 - exponent).unwrap_or(0);
        let plain = format!("{number:.places$}");
        return if plain.contains('.') { with_point(&plain) } else { format!("{plain}.0") };
    }
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{}e{sign}{:02}", with_point(digits), exponent.abs())
}

/// Where `needle` is in `bytes`, in time that grows with their lengths and not their product.
fn find(bytes: &[u8], needle: &[u8]) -> Option<usize> {
    if needle.is_empty() {
        return Some(0);
    }
    let failure = borders(needle);
    let mut matched = 0;
    for (at, byte) in bytes.iter().enumerate() {
        while matched > 0 && needle[matched] != *byte {
            matched = failure[matched - 1];
        }
        matched += usize::from(needle[matched] == *byte);
        if matched == needle.len() {
            return Some(at + 1 - matched);
        }
    }
    None
}

/// For each beginning of `needle` the length of its longest end that it begins with.
fn borders(needle: &[u8]) -> Vec<usize> {
    let mut failure = vec![0; needle.len()];
    let mut matched = 0;
    for at in 1..needle.len() {
        while matched > 0 && needle[matched] != needle[at] {
            matched = failure[matched - 1];
        }
        matched += usize::from(needle[matched] == needle[at]);
        failure[at] = matched;
    }
    failure
}

fn instr(asked: &Context<'_>) -> Result<Option<i64>, Error> {
    let (Some(text), Some(needle)) = (bytes(asked, 0), bytes(asked, 1)) else { return Ok(None) };
    let Some(at) = find(&text, &needle) else { return Ok(Some(0)) };
    let blobs = [0, 1].iter().all(|at| matches!(asked.get_raw(*at), ValueRef::Blob(_)));
    let before = &text[..at];
    // Of text characters are counted: bytes that begin one.
    let count = if blobs { at } else { before.iter().filter(|b| **b & 0xC0 != 0x80).count() };
    Ok(Some(i64::try_from(count).unwrap_or(i64::MAX).saturating_add(1)))
}

/// The bytes as text, or where they are none as they are.
fn text(bytes: Vec<u8>) -> Value {
    String::from_utf8(bytes).map_or_else(|bytes| Value::Blob(bytes.into_bytes()), Value::Text)
}

fn replace(asked: &Context<'_>) -> Result<Value, Error> {
    let (Some(whole), Some(from)) = (bytes(asked, 0), bytes(asked, 1)) else {
        return Ok(Value::Null);
    };
    if from.is_empty() {
        return Ok(text(whole.into_owned()));
    }
    let Some(to) = bytes(asked, 2) else { return Ok(Value::Null) };
    let failure = borders(&from);
    let (mut out, mut matched) = (Vec::with_capacity(whole.len()), 0);
    for byte in whole.iter() {
        while matched > 0 && from[matched] != *byte {
            matched = failure[matched - 1];
        }
        matched += usize::from(from[matched] == *byte);
        out.push(*byte);
        if matched == from.len() {
            out.truncate(out.len() - matched);
            out.extend_from_slice(&to);
            matched = 0;
        }
        if out.len() > super::open::LENGTH_BYTES_MAX {
            return Err(too_big());
        }
    }
    Ok(text(out))
}

fn too_big() -> Error {
    Error::SqliteFailure(rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_TOOBIG), None)
}

fn trim(asked: &Context<'_>, left: bool, right: bool) -> Result<Value, Error> {
    let Some(whole) = bytes(asked, 0) else { return Ok(Value::Null) };
    let given = if asked.len() > 1 { bytes(asked, 1) } else { Some(Cow::Borrowed(&b" "[..])) };
    let Some(given) = given else { return Ok(Value::Null) };
    let (Ok(whole), Ok(given)) = (str::from_utf8(&whole), str::from_utf8(&given)) else {
        return Err(Error::UserFunctionError("trim takes text".into()));
    };
    let chars: HashSet<char> = given.chars().collect();
    let fits = |c: char| chars.contains(&c);
    let mut rest = whole;
    if left {
        rest = rest.trim_start_matches(fits);
    }
    if right {
        rest = rest.trim_end_matches(fits);
    }
    Ok(Value::Text(rest.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn functions_made_anew_answer_as_those_of_sqlite() {
        let (plain, ours) =
            (Connection::open_in_memory().unwrap(), Connection::open_in_memory().unwrap());
        replace_slow(&ours).unwrap();
        let values = [
            "NULL",
            "''",
            "'a'",
            "'aa'",
            "'aab'",
            "'abaabaab'",
            "' a '",
            "'é'",
            "'xéxéy'",
            "12",
            "1.5",
            "-0.0",
            "1e300",
            "1e15",
            "123456789.125",
            "1e-7",
            "0.1",
            "x'6161'",
            "x'61'",
            "x''",
            "9e999",
            "100.0",
            "2.5e-5",
        ];
        let mut asked = Vec::new();
        for a in values {
            asked.push(format!("trim({a}), ltrim({a}), rtrim({a})"));
            for b in values {
                asked.push(format!("instr({a}, {b})"));
                asked.push(format!("trim({a}, {b}), ltrim({a}, {b}), rtrim({a}, {b})"));
                for c in ["''", "'a'", "'éé'", "7", "NULL"] {
                    asked.push(format!("replace({a}, {b}, {c})"));
                }
            }
        }
        for expressions in asked {
            let sql = format!("SELECT {expressions}");
            let of = |conn: &Connection| {
                let mut prepared = conn.prepare(&sql).unwrap();
                let count = prepared.column_count();
                prepared
                    .query_row([], |row| {
                        (0..count).map(|at| row.get::<_, Value>(at)).collect::<Result<Vec<_>, _>>()
                    })
                    .unwrap()
            };
            assert_eq!(of(&ours), of(&plain), "{expressions}");
        }
    }

    #[test]
    fn what_reaches_beyond_its_arguments_is_not_on_the_list() {
        assert!(ALLOWED.is_sorted(), "the list is searched by halves");
        assert!(is_allowed("COUNT") && is_allowed("->>") && is_allowed("json_extract"));
        for name in [
            "load_extension",
            "readfile",
            "writefile",
            "edit",
            "fts3_tokenizer",
            "sqlite_offset",
            "sqlite_compileoption_get",
            "sqlite_log",
            "rtreenode",
            "rtreecheck",
            "fts5_decode",
            "changes",
            "",
        ] {
            assert!(!is_allowed(name), "{name}");
        }
    }
}
