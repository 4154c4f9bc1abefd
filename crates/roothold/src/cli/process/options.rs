//! The flags of the operations, and which of them belong to which.

use std::path::{Path, PathBuf};

use anyhow::{bail, ensure};
use clap::{Args, ValueEnum};

/// What is done with the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Word {
    /// What each column holds: type, nulls, range, mean, quantiles, distinct and frequent values.
    Profile,
    /// Functions over groups of rows.
    Aggregate,
    /// Lines, or values of columns, that match a pattern.
    Search,
    /// Rows that are not as they should be.
    Validate,
    /// Some rows, chosen by chance.
    Sample,
    /// All rows, as a file of another format.
    Convert,
    /// One SELECT; the file is the table `data`.
    Sql,
}

impl Word {
    /// Its name, as the tool and the flag have it.
    pub(super) fn name(self) -> String {
        name_of(&self)
    }
}

/// Formats that a conversion writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    /// Apache Parquet, compressed with Zstandard.
    Parquet,
    /// CSV with a header.
    Csv,
    /// One JSON object a line.
    Jsonl,
}

impl Format {
    /// Its name, as the tool and the flag have it.
    pub(super) fn name(self) -> String {
        name_of(&self)
    }
}

fn name_of(value: &impl ValueEnum) -> String {
    value.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned())
}

/// What is to be done.
#[derive(Debug, Clone, Default, Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of its own")]
pub(super) struct Options {
    /// What is done. Default: what the other flags are about, or profile.
    #[arg(long, value_name = "OPERATION")]
    operation: Option<Word>,
    /// profile, search, sample, convert: the columns, separated by commas. Default: all.
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    pub(super) columns: Vec<String>,
    /// aggregate: the columns by whose values rows are grouped.
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    pub(super) group_by: Vec<String>,
    /// aggregate: a function such as `count`, `sum:amount`, `total=sum:amount` or `approx_percentile:ms:0.95`; can be repeated. Default: count.
    #[arg(long, value_name = "[NAME=]FUNCTION[:COLUMN]")]
    pub(super) aggregate: Vec<String>,
    /// aggregate: a column of the result to sort by.
    #[arg(long, value_name = "NAME")]
    pub(super) order_by: Option<String>,
    /// aggregate: the greatest first.
    #[arg(long)]
    pub(super) descending: bool,
    /// aggregate: the most groups that are shown.
    #[arg(long, value_name = "N")]
    pub(super) limit: Option<u64>,
    /// search: what is looked for, in the lines or in --columns.
    #[arg(long, value_name = "TEXT")]
    pub(super) pattern: Option<String>,
    /// search: the pattern is a regular expression.
    #[arg(long)]
    pub(super) regex: bool,
    /// search: case makes no difference.
    #[arg(long, short)]
    pub(super) ignore_case: bool,
    /// search: how many lines before and behind a match are shown.
    #[arg(long, short = 'C', value_name = "N")]
    pub(super) context: Option<u64>,
    /// search: the most matches that are shown; all are counted.
    #[arg(long, value_name = "N")]
    pub(super) max_matches: Option<u64>,
    /// validate: a column that there must be, its type, and `!` if it must not be empty; can be repeated. Default: as the file describes itself.
    #[arg(long, value_name = "NAME[:TYPE][!]")]
    pub(super) expect: Vec<String>,
    /// sample, sql: the most rows that are shown.
    #[arg(long, value_name = "N")]
    pub(super) rows: Option<u64>,
    /// sample: the same number chooses the same rows again.
    #[arg(long, value_name = "N")]
    pub(super) seed: Option<u64>,
    /// convert: the file to write.
    #[arg(long, short, value_name = "OUT")]
    output: Option<PathBuf>,
    /// convert: what is written. Default: by the name of the output.
    #[arg(long, value_name = "FORMAT")]
    format: Option<Format>,
    /// Replace an output, or a page of HTML, that is there already.
    #[arg(long)]
    pub(super) overwrite: bool,
    /// sql: the query; the file is the table `data`.
    #[arg(long, value_name = "SELECT")]
    pub(super) sql: Option<String>,
    /// sql: what `$1`, `$2`, … stand for, as JSON or text; can be repeated.
    #[arg(long, value_name = "VALUE")]
    pub(super) parameter: Vec<String>,
    /// How to read the file where that is not found out: `format`, `delimiter`, `quote`, `header`, `short_records`, `encoding`, `types.COLUMN`; can be repeated.
    #[arg(long, value_name = "KEY=VALUE")]
    pub(super) option: Vec<String>,
    /// Any argument of the tool by its name; can be repeated.
    #[arg(long, value_name = "KEY=VALUE")]
    pub(super) set: Vec<String>,
}

impl Options {
    /// What is done: as it is said, or by the one operation that the flags are about.
    ///
    /// # Errors
    /// For a flag that is about another operation, and one that is missing.
    pub(super) fn operation(&self) -> anyhow::Result<Word> {
        let given: Vec<_> = self.flags().into_iter().filter(|flag| flag.given).collect();
        let Some(operation) = self.operation else {
            // The flag that is about the fewest says most.
            let least = given.iter().min_by_key(|flag| flag.about.len());
            let operation = match least {
                Some(flag) if flag.about.len() == 1 => flag.about[0],
                Some(flag) if flag.about[0] != Word::Profile => flag.about[0],
                _ => Word::Profile,
            };
            return self.checked(operation, &given);
        };
        self.checked(operation, &given)
    }

    /// The operation, if every flag is about it and none is missing.
    fn checked(&self, operation: Word, given: &[Flag]) -> anyhow::Result<Word> {
        if let Some(flag) = given.iter().find(|flag| !flag.about.contains(&operation)) {
            let names: Vec<String> = flag.about.iter().map(|word| word.name()).collect();
            bail!(
                "{} is about {}, and this is {}; say one --operation, and its flags",
                flag.name,
                names.join(", "),
                operation.name()
            );
        }
        let needed = match operation {
            Word::Search => self.pattern.is_none().then_some("--pattern TEXT"),
            Word::Convert => self.output.is_none().then_some("--output OUT"),
            Word::Sql => self.sql.is_none().then_some("--sql 'SELECT … FROM data'"),
            _ => None,
        };
        let is_set = |key: &str| self.set.iter().any(|pair| pair.split('=').next() == Some(key));
        if let Some(needed) = needed {
            let key = needed.trim_start_matches('-').split(' ').next().unwrap_or_default();
            ensure!(key != "output" && is_set(key), "{} needs {needed}", operation.name());
        }
        Ok(operation)
    }

    /// The file to write.
    pub(super) fn output(&self) -> Option<&Path> {
        self.output.as_deref()
    }

    /// What is written: as it is said, or by the name of the output.
    ///
    /// # Errors
    /// When the name does not tell.
    pub(super) fn format(&self) -> anyhow::Result<Option<Format>> {
        let Some(output) = &self.output else { return Ok(self.format) };
        if self.format.is_some() {
            return Ok(self.format);
        }
        let ending = output.extension().and_then(|ending| ending.to_str()).unwrap_or_default();
        match &*ending.to_ascii_lowercase() {
            "parquet" | "pq" => Ok(Some(Format::Parquet)),
            "csv" => Ok(Some(Format::Csv)),
            "jsonl" | "ndjson" => Ok(Some(Format::Jsonl)),
            _ => bail!(
                "the name {} does not tell what to write; end it in .parquet, .csv or .jsonl, or say --format",
                output.display()
            ),
        }
    }

    /// Every flag of an operation, and whether it is there.
    fn flags(&self) -> Vec<Flag> {
        use Word::{Aggregate, Convert, Profile, Sample, Search, Sql, Validate};
        let flag = Flag::new;
        vec![
            flag("--columns", &[Profile, Search, Sample, Convert], !self.columns.is_empty()),
            flag("--group-by", &[Aggregate], !self.group_by.is_empty()),
            flag("--aggregate", &[Aggregate], !self.aggregate.is_empty()),
            flag("--order-by", &[Aggregate], self.order_by.is_some()),
            flag("--descending", &[Aggregate], self.descending),
            flag("--limit", &[Aggregate], self.limit.is_some()),
            flag("--pattern", &[Search], self.pattern.is_some()),
            flag("--regex", &[Search], self.regex),
            flag("--ignore-case", &[Search], self.ignore_case),
            flag("--context", &[Search], self.context.is_some()),
            flag("--max-matches", &[Search], self.max_matches.is_some()),
            flag("--expect", &[Validate], !self.expect.is_empty()),
            flag("--rows", &[Sample, Sql], self.rows.is_some()),
            flag("--seed", &[Sample], self.seed.is_some()),
            flag("--output", &[Convert], self.output.is_some()),
            flag("--format", &[Convert], self.format.is_some()),
            flag("--sql", &[Sql], self.sql.is_some()),
            flag("--parameter", &[Sql], !self.parameter.is_empty()),
        ]
    }
}

/// A flag, and the operations that it is about.
struct Flag {
    name: &'static str,
    about: &'static [Word],
    given: bool,
}

impl Flag {
    fn new(name: &'static str, about: &'static [Word], given: bool) -> Self {
        Self { name, about, given }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        options: Options,
    }

    fn operation(words: &[&str]) -> Result<Word, String> {
        let words = std::iter::once("process").chain(words.iter().copied());
        let line = Line::try_parse_from(words).map_err(|error| error.to_string())?;
        line.options.operation().map_err(|error| error.to_string())
    }

    #[test]
    fn flags_say_which_operation_is_meant() {
        for (words, expected) in [
            (&[][..], Word::Profile),
            (&["--columns", "a,b"], Word::Profile),
            (&["--columns", "a", "--pattern", "x"], Word::Search),
            (&["--group-by", "a"], Word::Aggregate),
            (&["--rows", "3"], Word::Sample),
            (&["--rows", "3", "--sql", "SELECT 1"], Word::Sql),
            (&["--expect", "a"], Word::Validate),
            (&["-o", "a.csv", "--columns", "a"], Word::Convert),
            (&["--operation", "validate"], Word::Validate),
            (&["--operation", "search", "--set", "pattern=x"], Word::Search),
        ] {
            assert_eq!(operation(words), Ok(expected), "{words:?}");
        }
    }

    #[test]
    fn what_does_not_go_together_is_said() {
        for (words, expected) in [
            (
                &["--operation", "profile", "--group-by", "a"][..],
                "--group-by is about aggregate, and this is profile",
            ),
            (&["--group-by", "a", "--pattern", "x"], "--pattern is about search"),
            (&["--operation", "sql"], "sql needs --sql"),
            (&["--operation", "convert"], "convert needs --output OUT"),
            (&["--operation", "convert", "--set", "output=/x"], "convert needs --output OUT"),
            (&["--operation", "search", "--columns", "a"], "search needs --pattern TEXT"),
            (&["--operation", "profil"], "invalid value"),
        ] {
            let error = operation(words).unwrap_err();
            assert!(error.contains(expected), "{words:?}: {error}");
        }
    }

    #[test]
    fn the_name_of_an_output_says_its_format() {
        let of = |words: &[&str]| {
            let words = std::iter::once("process").chain(words.iter().copied());
            let format = Line::try_parse_from(words).unwrap().options.format();
            format.map(|format| format.map(Format::name)).map_err(|error| error.to_string())
        };
        assert_eq!(of(&[]), Ok(None));
        assert_eq!(of(&["-o", "a.PARQUET"]), Ok(Some("parquet".to_owned())));
        assert_eq!(of(&["-o", "a.ndjson"]), Ok(Some("jsonl".to_owned())));
        assert_eq!(of(&["-o", "a", "--format", "csv"]), Ok(Some("csv".to_owned())));
        assert!(of(&["-o", "a.txt"]).unwrap_err().contains(".parquet, .csv or .jsonl"));
    }
}
