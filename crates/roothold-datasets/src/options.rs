//! How a source is read: what the caller says of it, and the words for what was found out.

use std::collections::BTreeMap;

use datafusion::arrow::datatypes::{DataType, TimeUnit};
use serde::{Deserialize, Serialize};

/// What a file holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// Records of fields, separated by commas or by what is found.
    Csv,
    /// The same, separated by tabs.
    Tsv,
    /// One JSON object a line.
    Jsonl,
    /// Apache Parquet.
    Parquet,
    /// Lines of plain text, such as a log: the columns `number` and `line`.
    Text,
}

impl Format {
    /// What a file holds by the ending of its name, if that tells; one of a compression may follow.
    pub fn by_name(path: &str) -> Option<Self> {
        let name = path.rsplit('/').next()?.to_ascii_lowercase();
        let mut extensions = name.rsplit('.');
        let last = extensions.next()?;
        let packed = ["gz", "gzip", "zst", "zstd", "bz2", "xz"].contains(&last);
        let extension = if packed { extensions.next()? } else { last };
        // A name without a dot has no ending.
        extensions.next()?;
        match extension {
            "csv" => Some(Self::Csv),
            "tsv" | "tab" => Some(Self::Tsv),
            "jsonl" | "ndjson" | "json" => Some(Self::Jsonl),
            "parquet" | "pq" => Some(Self::Parquet),
            "txt" | "log" | "md" | "text" => Some(Self::Text),
            _ => None,
        }
    }

    /// The word for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Csv => "csv",
            Self::Tsv => "tsv",
            Self::Jsonl => "jsonl",
            Self::Parquet => "parquet",
            Self::Text => "text",
        }
    }
}

/// What a file is compressed with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Compression {
    /// Nothing.
    None,
    /// gzip, one member or several.
    Gzip,
    /// Zstandard.
    Zstd,
    /// bzip2.
    Bzip2,
    /// xz.
    Xz,
}

impl Compression {
    /// The word for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Gzip => "gzip",
            Self::Zstd => "zstd",
            Self::Bzip2 => "bzip2",
            Self::Xz => "xz",
        }
    }
}

/// Which characters the bytes of a text stand for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum TextEncoding {
    /// UTF-8, with a byte order mark or without.
    #[serde(rename = "utf-8")]
    Utf8,
    /// UTF-16, little endian.
    #[serde(rename = "utf-16le")]
    Utf16Le,
    /// UTF-16, big endian.
    #[serde(rename = "utf-16be")]
    Utf16Be,
    /// Windows-1252, which covers ISO-8859-1.
    #[serde(rename = "windows-1252")]
    Windows1252,
}

impl TextEncoding {
    /// The word for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Utf8 => "utf-8",
            Self::Utf16Le => "utf-16le",
            Self::Utf16Be => "utf-16be",
            Self::Windows1252 => "windows-1252",
        }
    }
}

/// What the cells of a column are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ColumnType {
    /// Text.
    Text,
    /// A whole number of 64 bits.
    Integer,
    /// A floating-point number.
    Number,
    /// An exact number with up to 38 digits, 10 of them after the point.
    Decimal,
    /// True or false.
    Boolean,
    /// A day.
    Date,
    /// A day and a time.
    Timestamp,
}

impl ColumnType {
    /// The word for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Integer => "integer",
            Self::Number => "number",
            Self::Decimal => "decimal",
            Self::Boolean => "boolean",
            Self::Date => "date",
            Self::Timestamp => "timestamp",
        }
    }

    /// The one that has this type.
    pub(crate) fn of(arrow: &DataType) -> Option<Self> {
        use ColumnType::{Boolean, Date, Decimal, Integer, Number, Text, Timestamp};
        let all = [Text, Integer, Number, Decimal, Boolean, Date, Timestamp];
        all.into_iter().find(|kind| kind.arrow() == *arrow)
    }

    pub(crate) fn arrow(self) -> DataType {
        match self {
            Self::Text => DataType::Utf8,
            Self::Integer => DataType::Int64,
            Self::Number => DataType::Float64,
            Self::Decimal => DataType::Decimal128(38, 10),
            Self::Boolean => DataType::Boolean,
            Self::Date => DataType::Date32,
            Self::Timestamp => DataType::Timestamp(TimeUnit::Microsecond, None),
        }
    }
}

/// What the caller or the configuration says of a source; what is not said is found out from the
/// first bytes of each file, and for a format from its name where they do not tell.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SourceOptions {
    /// What the files hold.
    pub format: Option<Format>,
    /// What separates fields: one ASCII character. CSV and TSV only.
    pub delimiter: Option<char>,
    /// What stands around a field that holds delimiters: one ASCII character. CSV and TSV only.
    pub quote: Option<char>,
    /// Whether the first record names the columns; otherwise they are `column_1`, `column_2`, …
    /// CSV and TSV only.
    pub header: Option<bool>,
    /// Whether a record may have fewer fields than the first: those that are missing are null.
    /// CSV and TSV only.
    pub short_records: bool,
    /// Which characters the bytes stand for.
    pub encoding: Option<TextEncoding>,
    /// The types of columns by name; `*` for all that are not named. Not for Parquet, which says
    /// them itself.
    pub types: BTreeMap<String, ColumnType>,
}
