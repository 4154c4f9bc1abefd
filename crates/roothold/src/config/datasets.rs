//! The sections of datasets: `[[datasets]]`, files that have a name, and `[dataset_engine]`, what
//! reading and querying may use.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use roothold_core::ObjectUrl;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::bounds::{DAY, KIB, MIB, within};
use super::load::ConfigError;

/// The most datasets that have names.
const DATASETS_MAX: usize = 1000;
/// The most paths and globs of one.
const FILES_MAX: usize = 64;
const NAME_LEN_MAX: usize = 64;

/// Files that agents can ask for by a name; together they are one table.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DatasetSection {
    /// The name: up to 64 letters, digits, `_` and `-`, with a letter first.
    pub name: String,
    /// What it holds, for agents.
    #[serde(default)]
    pub description: String,
    /// Absolute public paths in the roots, or globs over them, such as `/shared/sales/*.csv`; or URLs below a `[[stores]]` entry, such as `s3://lake/sales/*.parquet`. Whoever asks for the name must be allowed to read the files.
    pub files: Vec<String>,
    /// What the files hold. Default: found out.
    #[serde(default)]
    pub format: Option<FormatWord>,
    /// What separates fields of CSV and TSV, one ASCII character. Default: found out.
    #[serde(default)]
    pub delimiter: Option<char>,
    /// What stands around fields that hold delimiters, one ASCII character. Default: `"`.
    #[serde(default)]
    pub quote: Option<char>,
    /// Whether the first record of CSV and TSV names the columns. Default: found out.
    #[serde(default)]
    pub header: Option<bool>,
    /// Whether records of CSV and TSV may have fewer fields than the first.
    #[serde(default)]
    pub short_records: bool,
    /// Which characters the bytes stand for. Default: found out.
    #[serde(default)]
    pub encoding: Option<EncodingWord>,
    /// The types of columns by name; `*` for all that are not named. Default: found out. Not for Parquet.
    #[serde(default)]
    pub types: BTreeMap<String, ColumnTypeWord>,
    /// Columns that do not exist for whoever reads these files as a dataset, by this name or by path. Tools that read files as text know no columns: do not grant them, too. Name the files by their own paths, not by links.
    #[serde(default)]
    pub hidden_columns: Vec<String>,
}

/// What files hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum FormatWord {
    /// Records of fields.
    Csv,
    /// Separated by tabs.
    Tsv,
    /// One JSON object a line.
    Jsonl,
    /// Apache Parquet.
    Parquet,
    /// Lines of text.
    Text,
}

/// Which characters bytes stand for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum EncodingWord {
    /// UTF-8.
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

/// What the cells of a column are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ColumnTypeWord {
    /// Text.
    Text,
    /// A whole number.
    Integer,
    /// A floating-point number.
    Number,
    /// An exact number.
    Decimal,
    /// True or false.
    Boolean,
    /// A day.
    Date,
    /// A day and a time.
    Timestamp,
}

/// Whether the sections can be used, as far as that is known without the roots.
///
/// # Errors
/// A [`ConfigError::Value`] that names the dataset.
pub(super) fn check(datasets: &[DatasetSection]) -> Result<(), ConfigError> {
    let refuse = |reason: String| Err(ConfigError::Value { key: "datasets".to_owned(), reason });
    if !datasets.is_empty() && !cfg!(feature = "datasets") {
        return refuse(
            "this program was built without datasets; install one that has them, or remove the section".to_owned(),
        );
    }
    if datasets.len() > DATASETS_MAX {
        return refuse(format!("there are more than {DATASETS_MAX}; name fewer, by globs"));
    }
    let mut names = BTreeSet::new();
    for dataset in datasets {
        let name = &dataset.name;
        if !is_name(name) {
            return refuse(format!(
                "`{}` is no name; write up to {NAME_LEN_MAX} letters, digits, _ and -, with a letter first",
                name.escape_debug()
            ));
        }
        if !names.insert(name) {
            return refuse(format!("two are called `{name}`; give each its own name"));
        }
        if !(1..=FILES_MAX).contains(&dataset.files.len()) {
            return refuse(format!("`{name}` must name 1 to {FILES_MAX} files or globs"));
        }
        if let Some(file) = dataset.files.iter().find(|file| !is_absolute(file)) {
            return refuse(format!(
                "`{name}`: {file:?} is no absolute public path; begin it with / or file:///, or with the URL of a store"
            ));
        }
    }
    Ok(())
}

fn is_absolute(file: &str) -> bool {
    file.starts_with('/') || file.starts_with("file:///") || ObjectUrl::is_meant(file)
}

/// Whether a text can be the name of a dataset; anything else is a path.
pub(crate) fn is_name(text: &str) -> bool {
    text.len() <= NAME_LEN_MAX
        && text.starts_with(|first: char| first.is_ascii_alphabetic())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-')
}

/// What reading and querying datasets may use.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct DatasetEngine {
    /// The memory that queries and aggregations may hold together for sorting, grouping and joining, in bytes; decoding takes some tens of MB besides. Default: the smaller of 256 MiB and 40 % of the memory that the container may use.
    pub memory_bytes_max: Option<u64>,
    /// Threads that read and query. Default: one a core.
    pub threads: Option<usize>,
    /// The most queries that run at once; others wait for their turn.
    pub queries_max: usize,
    /// The directory of a private folder for what does not fit into memory, outside every root. Default: `spill` in `state.dir`, or `roothold/spill` in the user's state directory; if that cannot be made, what does not fit fails.
    pub spill_dir: Option<PathBuf>,
    /// The most bytes in that folder; 0 for none.
    pub spill_bytes_max: u64,
    /// How many bytes of that folder's disk stay free: queries that would need them fail, so that what else is written there goes on, as perhaps the audit log. Default: the smaller of 1 GiB and a twentieth of the disk.
    pub spill_free_bytes_min: Option<u64>,
    /// The largest file that a query or a conversion writes, in bytes.
    pub output_bytes_max: u64,
    /// How much of a file is worked through before the result is folded and can be taken up again, in bytes.
    pub chunk_bytes: u64,
    /// How long a query may take, in seconds.
    pub query_timeout_seconds: u64,
}

impl Default for DatasetEngine {
    fn default() -> Self {
        Self {
            memory_bytes_max: None,
            threads: None,
            queries_max: 4,
            spill_dir: None,
            spill_bytes_max: 8 * 1024 * MIB,
            spill_free_bytes_min: None,
            output_bytes_max: 64 * 1024 * MIB,
            chunk_bytes: 2 * MIB,
            query_timeout_seconds: 60,
        }
    }
}

impl DatasetEngine {
    pub(super) fn check(&self) -> Result<(), ConfigError> {
        const TIB: u64 = 1024 * 1024 * MIB;
        if let Some(bytes) = self.memory_bytes_max {
            within("dataset_engine.memory_bytes_max", bytes, 16 * MIB..=TIB)?;
        }
        if let Some(threads) = self.threads {
            within("dataset_engine.threads", threads, 1..=1024)?;
        }
        within("dataset_engine.queries_max", self.queries_max, 1..=1000)?;
        within("dataset_engine.spill_bytes_max", self.spill_bytes_max, 0..=1024 * TIB)?;
        if let Some(bytes) = self.spill_free_bytes_min {
            within("dataset_engine.spill_free_bytes_min", bytes, 0..=1024 * TIB)?;
        }
        within("dataset_engine.output_bytes_max", self.output_bytes_max, MIB..=1024 * TIB)?;
        within("dataset_engine.chunk_bytes", self.chunk_bytes, 4 * KIB..=256 * MIB)?;
        within("dataset_engine.query_timeout_seconds", self.query_timeout_seconds, 1..=DAY)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::config::Config;

    #[test]
    fn every_number_of_the_engine_has_bounds_and_an_error_that_names_it() {
        let defaults = serde_json::to_value(DatasetEngine::default()).unwrap();
        for key in defaults.as_object().unwrap().keys().filter(|key| *key != "spill_dir") {
            let with = |value: Value| {
                let mut config = serde_json::to_value(Config::default()).unwrap();
                config["dataset_engine"][key] = value;
                serde_json::from_value::<Config>(config).unwrap().check()
            };
            let error = with(json!(i64::MAX)).unwrap_err().to_string();
            assert!(error.starts_with(&format!("dataset_engine.{key}: ")), "{key}: {error}");
            assert_eq!(with(json!(0)).is_ok(), key.starts_with("spill_"), "{key}");
        }
        Config::default().check().unwrap();
    }

    fn checked(text: &str) -> Result<(), String> {
        let config: Config = toml::from_str(text).map_err(|error| error.message().to_owned())?;
        config.check().map_err(|error| error.to_string())
    }

    #[cfg(feature = "datasets")]
    #[test]
    fn a_dataset_has_one_name_and_absolute_files() {
        let of =
            |name: &str, files: &str| format!("[[datasets]]\nname = {name:?}\nfiles = {files}\n");
        assert_eq!(checked(&of("sales-2026_a", "[\"/s/*.csv\", \"file:///s/a.csv\"]")), Ok(()));
        let many = format!("{:?}", vec!["/a.csv"; 65]);
        for (name, files, why) in [
            ("", "[\"/a.csv\"]", "is no name"),
            ("1a", "[\"/a.csv\"]", "is no name"),
            ("a.csv", "[\"/a.csv\"]", "is no name"),
            ("a/b", "[\"/a.csv\"]", "is no name"),
            (&"a".repeat(65), "[\"/a.csv\"]", "is no name"),
            ("a", "[]", "1 to 64 files"),
            ("a", &many, "1 to 64 files"),
            ("a", "[\"a.csv\"]", "no absolute public path"),
            ("a", "[\"ftp://b/a.csv\"]", "no absolute public path"),
        ] {
            let error = checked(&of(name, files)).unwrap_err();
            assert!(error.starts_with("datasets: ") && error.contains(why), "{error}");
        }
        let twice = of("a", "[\"/a.csv\"]").repeat(2);
        assert!(checked(&twice).unwrap_err().contains("two are called `a`"));
    }

    #[cfg(not(feature = "datasets"))]
    #[test]
    fn a_program_without_datasets_says_so() {
        let error = checked("[[datasets]]\nname = \"a\"\nfiles = [\"/a.csv\"]\n").unwrap_err();
        assert!(error.contains("built without datasets"), "{error}");
    }
}
