//! What the cells of columns are, judged by a sample.
//!
//! A column is what all its cells in the sample are: whole numbers and others together are
//! numbers, days and times together are times, and whatever else differs is text. A number that
//! begins with a zero is text, since it is a code that would lose it; so are whole numbers that the column could
//! only hold rounded: those too long for 64 bits, and those beyond 2^53 among others with fractions.

use std::sync::Arc;

use datafusion::arrow::compute::kernels::cast_utils::Parser as _;
use datafusion::arrow::datatypes::{
    DataType, Date32Type, Field, Fields, Float64Type, TimestampMicrosecondType,
};

use crate::options::ColumnType;

pub(crate) mod json;

/// What is known of a column.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) enum Kind {
    /// No cell that is not empty.
    #[default]
    Empty,
    Plain(ColumnType),
    /// Whole numbers, one of which is beyond 2^53: a floating number would be another.
    Wide,
    List(Box<Kind>),
    /// Fields in the order in which they were met.
    Struct(Vec<(String, Kind)>),
    /// What cannot be one column, such as objects and text.
    Mixed,
}

impl Kind {
    /// What holds both.
    pub(crate) fn merge(self, other: Self) -> Self {
        match (self, other) {
            (Self::Empty, kind) | (kind, Self::Empty) => kind,
            (Self::Plain(one), Self::Plain(two)) => Self::Plain(merge_plain(one, two)),
            (Self::Wide, Self::Wide | Self::Plain(ColumnType::Integer))
            | (Self::Plain(ColumnType::Integer), Self::Wide) => Self::Wide,
            (Self::Wide, Self::Plain(_)) | (Self::Plain(_), Self::Wide) => {
                Self::Plain(ColumnType::Text)
            }
            (Self::List(one), Self::List(two)) => Self::List(Box::new(one.merge(*two))),
            (Self::Struct(one), Self::Struct(two)) => Self::Struct(merge_fields(one, two)),
            _ => Self::Mixed,
        }
    }

    /// The type of the column, if it can be one.
    pub(crate) fn arrow(&self) -> Option<DataType> {
        Some(match self {
            Self::Empty => DataType::Utf8,
            Self::Plain(kind) => kind.arrow(),
            Self::Wide => ColumnType::Integer.arrow(),
            Self::List(kind) => DataType::List(Arc::new(Field::new("item", kind.arrow()?, true))),
            Self::Struct(fields) => {
                let fields: Fields = fields
                    .iter()
                    .filter_map(|(name, kind)| Some(Field::new(name, kind.arrow()?, true)))
                    .collect();
                if fields.is_empty() {
                    return None;
                }
                DataType::Struct(fields)
            }
            Self::Mixed => return None,
        })
    }

    /// Tells `note` of each part that has no place in the type of the column: what it is called within
    /// `name`, and what it is.
    pub(crate) fn each_left_out(&self, name: &str, note: &mut dyn FnMut(&str, &Kind)) {
        match self {
            Self::List(item) if item.arrow().is_some() => {
                item.each_left_out(&format!("{name}[]"), note);
            }
            Self::Struct(fields) if self.arrow().is_some() => {
                for (field, kind) in fields {
                    kind.each_left_out(&format!("{name}.{field}"), note);
                }
            }
            kind if kind.arrow().is_none() => note(name, kind),
            _ => {}
        }
    }
}

fn merge_plain(one: ColumnType, two: ColumnType) -> ColumnType {
    use ColumnType::{Date, Integer, Number, Text, Timestamp};
    match (one, two) {
        (one, two) if one == two => one,
        (Integer, Number) | (Number, Integer) => Number,
        (Date, Timestamp) | (Timestamp, Date) => Timestamp,
        _ => Text,
    }
}

/// The fields of both, those of the first in front.
pub(crate) fn merge_fields(
    mut one: Vec<(String, Kind)>,
    two: Vec<(String, Kind)>,
) -> Vec<(String, Kind)> {
    for (at, (name, kind)) in two.into_iter().enumerate() {
        // Records mostly have their members in the same order.
        let is_there = one.get(at).is_some_and(|(known, _)| *known == name);
        let found =
            if is_there { Some(at) } else { one.iter().position(|(known, _)| *known == name) };
        match found {
            Some(at) => one[at].1 = std::mem::take(&mut one[at].1).merge(kind),
            None => one.push((name, kind)),
        }
    }
    one
}

/// What one cell of a delimited text is.
pub(crate) fn cell(text: &str) -> Kind {
    let Some(first) = text.bytes().next() else { return Kind::Empty };
    let kind = match first {
        b't' | b'T' | b'f' | b'F'
            if text.eq_ignore_ascii_case("true") || text.eq_ignore_ascii_case("false") =>
        {
            ColumnType::Boolean
        }
        b'0'..=b'9' | b'-' | b'+' | b'.' => {
            number(text).or_else(|| time(text)).unwrap_or(ColumnType::Text)
        }
        _ => ColumnType::Text,
    };
    match text.parse() {
        Ok(number) if kind == ColumnType::Integer => whole(number),
        _ => Kind::Plain(kind),
    }
}

/// What a whole number is.
fn whole(number: i64) -> Kind {
    /// Up to here every whole number is a floating one.
    const EXACT_MAX: u64 = 1 << 53;
    if number.unsigned_abs() > EXACT_MAX { Kind::Wide } else { Kind::Plain(ColumnType::Integer) }
}

fn number(text: &str) -> Option<ColumnType> {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let is_code = digits.len() > 1 && digits.starts_with('0') && !digits.starts_with("0.");
    if is_code || text.starts_with('+') {
        return None;
    }
    if digits.bytes().all(|byte| byte.is_ascii_digit()) {
        // What is too long for a whole number is a code, such as that of a card, not a quantity.
        return text.parse::<i64>().is_ok().then_some(ColumnType::Integer);
    }
    let is_number = text.bytes().all(|byte| b"0123456789+-.eE".contains(&byte));
    (is_number && Float64Type::parse(text).is_some_and(f64::is_finite))
        .then_some(ColumnType::Number)
}

/// Whether a cell is a number that a column of floating ones can tell.
pub(crate) fn is_number(text: &str) -> bool {
    let (whole, number) = (Kind::Plain(ColumnType::Integer), Kind::Plain(ColumnType::Number));
    [whole, number].contains(&cell(text))
}

/// Whether a text begins as days are written.
pub(crate) fn begins_with_day(text: &str) -> bool {
    let is_day = |(at, byte): (usize, &u8)| match at {
        4 | 7 => *byte == b'-',
        _ => byte.is_ascii_digit(),
    };
    text.as_bytes().get(..10).is_some_and(|shape| shape.iter().enumerate().all(is_day))
}

fn time(text: &str) -> Option<ColumnType> {
    if !begins_with_day(text) {
        return None;
    }
    if text.len() == 10 {
        return Date32Type::parse(text).map(|_| ColumnType::Date);
    }
    TimestampMicrosecondType::parse(text).map(|_| ColumnType::Timestamp)
}

#[cfg(test)]
mod tests {
    use super::*;
    use ColumnType::{Boolean, Date, Integer, Number, Text, Timestamp};

    #[test]
    fn cells_are_what_they_look_like() {
        for (text, kind) in [
            ("1", Integer),
            ("-17", Integer),
            ("0", Integer),
            ("007", Text),
            ("-0", Integer),
            ("9007199254740992", Integer),
            ("9223372036854775808", Text),
            ("+4912345", Text),
            ("1.5", Number),
            ("0.5", Number),
            ("1e9", Number),
            ("-", Text),
            (".", Text),
            ("1-2", Text),
            ("inf", Text),
            ("NaN", Text),
            ("true", Boolean),
            ("FALSE", Boolean),
            ("t", Text),
            ("2026-02-28", Date),
            ("2026-02-30", Text),
            ("2026-02-28T10:00:00Z", Timestamp),
            ("2026-02-28 10:00:00.123", Timestamp),
            ("2026-02-28 nonsense", Text),
            ("12.34.56", Text),
            ("é", Text),
        ] {
            assert_eq!(cell(text), Kind::Plain(kind), "{text}");
        }
        assert_eq!(cell(""), Kind::Empty);
        assert_eq!(cell("9007199254740993"), Kind::Wide);
        assert_eq!(cell("-9223372036854775808"), Kind::Wide);
    }

    #[test]
    fn what_differs_is_what_holds_both() {
        let plain = |kind| Kind::Plain(kind);
        for (one, two, both) in [
            (Integer, Number, Number),
            (Date, Timestamp, Timestamp),
            (Integer, Text, Text),
            (Boolean, Integer, Text),
            (Integer, Date, Text),
        ] {
            assert_eq!(plain(one).merge(plain(two)), plain(both));
            assert_eq!(plain(two).merge(plain(one)), plain(both));
        }
        for (one, both) in [
            (plain(Integer), Kind::Wide),
            (Kind::Wide, Kind::Wide),
            (plain(Number), plain(Text)),
            (plain(Boolean), plain(Text)),
            (Kind::List(Box::default()), Kind::Mixed),
        ] {
            assert_eq!(one.clone().merge(Kind::Wide), both);
            assert_eq!(Kind::Wide.merge(one), both);
        }
        assert_eq!(Kind::Empty.merge(plain(Date)), plain(Date));
        assert_eq!(Kind::List(Box::default()).merge(plain(Text)), Kind::Mixed);
    }
}
