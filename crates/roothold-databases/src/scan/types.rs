//! What the values of a column are, from the word that its database has for it.

use crate::spec::SourceKind;

/// What the values of a column are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FieldType {
    /// [`crate::Cell::Boolean`].
    Boolean,
    /// [`crate::Cell::Integer`], of so many bits.
    Integer {
        /// 8, 16, 32 or 64.
        bits: u8,
    },
    /// [`crate::Cell::Unsigned`], of so many bits.
    Unsigned {
        /// 8, 16, 32 or 64.
        bits: u8,
    },
    /// [`crate::Cell::Float`], of so many bits.
    Float {
        /// 32 or 64.
        bits: u8,
    },
    /// A decimal number, as [`crate::Cell::Text`]. In PostgreSQL it may be `NaN` or infinite.
    Decimal {
        /// How many digits it has, and how many of them behind the point; where that is not fixed, none.
        digits: Option<(u16, u16)>,
    },
    /// `2026-01-02`, as [`crate::Cell::Text`]; in PostgreSQL also `infinity`, in MySQL with zeros.
    Date,
    /// `03:04:05.6`, as [`crate::Cell::Text`]; in MySQL with a sign and more than 24 hours.
    Time,
    /// `2026-01-02T03:04:05.6`, as [`crate::Cell::Text`], with exceptions as for dates.
    Timestamp {
        /// Whether an offset stands behind it: it is a moment, rather than what a clock shows.
        zoned: bool,
    },
    /// JSON, as [`crate::Cell::Text`].
    Json,
    /// [`crate::Cell::Bytes`].
    Bytes,
    /// [`crate::Cell::Text`]: texts, and types that only their database knows, in the form that it writes.
    Text,
    /// Any cell: in SQLite each value has a type of its own.
    Any,
}

impl FieldType {
    /// What a database means by the name of a type.
    pub(crate) fn of(kind: SourceKind, name: &str) -> Self {
        let name = name.to_ascii_lowercase();
        match kind {
            SourceKind::Sqlite => Self::Any,
            SourceKind::Postgres => of_postgres(&name),
            SourceKind::MySql => of_mysql(&name),
        }
    }
}

/// The name before its brackets, the numbers in these, and what stands behind.
fn parts(name: &str) -> (&str, Vec<u16>, &str) {
    let Some((word, rest)) = name.split_once('(') else {
        return name
            .split_once(' ')
            .map_or((name, Vec::new(), ""), |(word, behind)| (word, Vec::new(), behind.trim()));
    };
    let (inside, behind) = rest.split_once(')').unwrap_or((rest, ""));
    let numbers = inside.split(',').map_while(|number| number.trim().parse().ok()).collect();
    (word.trim(), numbers, behind.trim())
}

fn decimal(numbers: &[u16]) -> FieldType {
    let digits = match numbers {
        [precision, scale] => Some((*precision, *scale)),
        [precision] => Some((*precision, 0)),
        _ => None,
    };
    FieldType::Decimal { digits }
}

fn of_postgres(name: &str) -> FieldType {
    use FieldType::{Boolean, Bytes, Date, Float, Integer, Json, Text, Time, Timestamp, Unsigned};
    if name.ends_with(']') {
        // A list is JSON in this crate.
        return Json;
    }
    let (word, numbers, behind) = parts(name);
    match (word, behind) {
        ("boolean", "") => Boolean,
        ("smallint", "") => Integer { bits: 16 },
        ("integer", "") => Integer { bits: 32 },
        ("bigint", "") => Integer { bits: 64 },
        ("oid", "") => Unsigned { bits: 32 },
        ("real", "") => Float { bits: 32 },
        ("double", "precision") => Float { bits: 64 },
        // A scale may be below 0, which the digits here do not say.
        ("numeric", "") if !name.contains('-') => decimal(&numbers),
        ("numeric", "") => decimal(&[]),
        ("date", "") => Date,
        ("time", "without time zone") => Time,
        ("timestamp", "without time zone") => Timestamp { zoned: false },
        ("timestamp", "with time zone") => Timestamp { zoned: true },
        ("json" | "jsonb", "") => Json,
        ("bytea", "") => Bytes,
        _ => Text,
    }
}

fn of_mysql(name: &str) -> FieldType {
    use FieldType::{Bytes, Date, Float, Integer, Text, Time, Timestamp, Unsigned};
    let (word, numbers, behind) = parts(name);
    let bits = match word {
        "tinyint" => 8,
        "smallint" => 16,
        "mediumint" | "int" | "integer" => 32,
        "bigint" => 64,
        _ => 0,
    };
    match word {
        _ if bits > 0 && behind.contains("unsigned") => Unsigned { bits },
        _ if bits > 0 => Integer { bits },
        "year" => Unsigned { bits: 16 },
        "bit" => Unsigned { bits: 64 },
        "float" => Float { bits: 32 },
        "double" => Float { bits: 64 },
        "decimal" => decimal(&numbers),
        "date" => Date,
        "time" => Time,
        "datetime" => Timestamp { zoned: false },
        "timestamp" => Timestamp { zoned: true },
        "json" => FieldType::Json,
        "binary" | "varbinary" | "tinyblob" | "blob" | "mediumblob" | "longblob" | "geometry"
        | "point" | "linestring" | "polygon" | "multipoint" | "multilinestring"
        | "multipolygon" | "geometrycollection" | "geomcollection" | "vector" => Bytes,
        _ => Text,
    }
}

#[cfg(test)]
mod tests {
    use super::FieldType::*;
    use super::*;

    #[test]
    fn types_are_known_by_their_names() {
        for (name, kind) in [
            ("bigint", Integer { bits: 64 }),
            ("numeric(10,2)", Decimal { digits: Some((10, 2)) }),
            ("numeric(5)", Decimal { digits: Some((5, 0)) }),
            ("numeric(3,-2)", Decimal { digits: None }),
            ("numeric", Decimal { digits: None }),
            ("double precision", Float { bits: 64 }),
            ("timestamp(3) with time zone", Timestamp { zoned: true }),
            ("timestamp without time zone", Timestamp { zoned: false }),
            ("time with time zone", Text),
            ("character varying(20)", Text),
            ("integer[]", Json),
            ("app.mood", Text),
            ("bytea", Bytes),
        ] {
            assert_eq!(FieldType::of(SourceKind::Postgres, name), kind, "{name}");
        }
        for (name, kind) in [
            ("bigint(20) unsigned", Unsigned { bits: 64 }),
            ("int(11)", Integer { bits: 32 }),
            ("int unsigned zerofill", Unsigned { bits: 32 }),
            ("decimal(10,2)", Decimal { digits: Some((10, 2)) }),
            ("datetime(6)", Timestamp { zoned: false }),
            ("enum('a','b')", Text),
            ("bit(1)", Unsigned { bits: 64 }),
            ("varbinary(3)", Bytes),
        ] {
            assert_eq!(FieldType::of(SourceKind::MySql, name), kind, "{name}");
        }
        assert_eq!(FieldType::of(SourceKind::Sqlite, "INTEGER"), Any);
    }
}
