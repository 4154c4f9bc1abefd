//! `roothold process`: an operation over a file of any size, without a server.
//!
//! The tool `process_large_dataset` does it, called in this process the way that every call takes:
//! decided by policy, bounded, and recorded in the audit log. The file's directory is the one root.

mod arguments;
mod bar;
mod local;
mod options;
mod page;
mod place;
mod report;
mod words;

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{bail, ensure};
use clap::Args;
use serde_json::Value;

use super::{ConfigArgs, disk, print, say};
use crate::builder::Builder;
use crate::config::{self, Auth, Config, Handles};
use options::Options;
use place::Place;
use report::Report;

/// Works through a file of any size: profile, aggregate, search, validate, sample, convert, SQL.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Process {
    /// The file, several, or a glob in quotes such as 'logs/*.jsonl': together they are one dataset.
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,
    #[command(flatten)]
    options: Options,
    /// Print the whole result as JSON.
    #[arg(long)]
    json: bool,
    /// Exit with 0 although rows could not be read and were left out.
    #[arg(long)]
    allow_bad_rows: bool,
    /// With profile: draw it as a page of HTML too, in one file that needs no other.
    #[arg(long, value_name = "OUT")]
    html: Option<PathBuf>,
    /// Say nothing of how far it is.
    #[arg(long, short)]
    quiet: bool,
    /// A configuration, for its audit log, its engine for datasets and what it excludes.
    #[arg(long, short, value_name = "FILE", env = "ROOTHOLD_CONFIG", hide_env_values = true)]
    config: Option<PathBuf>,
    /// The directory of the audit log.
    #[arg(long, value_name = "DIR")]
    audit_dir: Option<PathBuf>,
}

const EXAMPLES: &str = "CSV, TSV, JSON Lines, Parquet and plain text are told apart by what they hold, and so are gzip, zstd, bzip2 and xz. Ctrl-C ends it and leaves nothing behind.

Exit code: 0 done, 1 refused, cancelled, the data is not valid, or rows were left out (unless --allow-bad-rows), 2 wrong command line or configuration.

Examples:
  roothold process orders.csv
  roothold process orders.csv --html orders.html
  roothold process 'logs/*.jsonl.gz' --group-by level --aggregate count --aggregate avg:ms
  roothold process server.log --pattern 'timeout|refused' --regex --context 2
  roothold process orders.csv --expect id:integer! --expect paid:date
  roothold process orders.csv --columns id,amount --output orders.parquet
  roothold process orders.csv --sql 'SELECT city, sum(amount) FROM data GROUP BY city'";

/// The tool that does the work.
const TOOL: &str = "process_large_dataset";

impl Process {
    pub(super) fn run(self, builder: fn() -> Builder) -> anyhow::Result<u8> {
        let operation = self.options.operation()?;
        self.check(operation)?;
        let place = Place::of(&self.files, self.options.output())?;
        let builder = builder();
        let Some(tool) = builder.catalog().get(TOOL) else {
            bail!("this program was built without datasets; build it with the feature `datasets`");
        };
        let schema = Value::Object(tool.tool.input_schema());
        let arguments = arguments::of(&self.options, operation, &place, &schema)?;
        let config = self.config(&place)?;
        crate::process::raise_file_limit();
        let bar = Arc::new(bar::Bar::start(self.quiet));
        let server = builder.config(config).without_jobs();
        let answer = local::call(server, TOOL, arguments, &bar);
        bar.end();
        let report = match answer? {
            Ok(value) => Report::new(operation, value),
            Err(refused) => {
                say(&format!("roothold: {}", words::in_flags(&refused)));
                return Ok(1);
            }
        };
        self.show(&report, &place)
    }

    /// What can be told before any work.
    fn check(&self, operation: options::Word) -> anyhow::Result<()> {
        if let Some(html) = &self.html {
            ensure!(
                operation == options::Word::Profile,
                "--html draws a profile, and this is {}; leave it out, or say --operation profile",
                operation.name()
            );
            let is_it = |file: &PathBuf| match (disk::real(file), disk::real(html)) {
                (Ok(file), Ok(html)) => file == html,
                _ => false,
            };
            ensure!(
                !self.files.iter().any(is_it),
                "the page would take the place of the file itself; name another one"
            );
            ensure!(
                self.options.overwrite || !disk::is_there(html),
                "{} is there already; --overwrite replaces it",
                html.display()
            );
            ensure!(
                disk::is_directory(disk::directory_of(html)),
                "{} has no directory yet; make it first",
                html.display()
            );
        }
        Ok(())
    }

    /// The configuration, about the place of the file instead of its own roots: whoever is at the
    /// command line is no principal of it, and what it excludes stays excluded.
    fn config(&self, place: &Place) -> anyhow::Result<Config> {
        let source = ConfigArgs {
            config: self.config.clone(),
            audit_dir: self.audit_dir.clone(),
            ..ConfigArgs::default()
        };
        let no_port = ("telemetry.listen", toml::Value::String(String::new()));
        let mut config = source.load(&[], false, vec![no_port])?;
        config.roots = place.roots();
        config.policy.read = None;
        config.policy.write = None;
        config.principals.clear();
        config.datasets.clear();
        config.stores.clear();
        config.auth = Auth::default();
        config.handles = Handles::default();
        config.limits = config::Limits {
            result_bytes_default: RESULT_BYTES_MAX,
            result_bytes_ceiling: RESULT_BYTES_MAX,
            long_call_timeout_seconds: TIMEOUT_SECONDS,
            ..config.limits
        };
        Ok(config)
    }

    fn show(&self, report: &Report, place: &Place) -> anyhow::Result<u8> {
        if self.json {
            print(&format!("{:#}", report.value()));
        } else {
            print(&report.text(place));
        }
        if let Some(html) = &self.html {
            let when = jiff::Timestamp::from_second(jiff::Timestamp::now().as_second());
            let when = when.unwrap_or_default().to_string();
            disk::put(html, &page::page(report, place.shown(), &when), self.options.overwrite)?;
            if !self.json && !self.quiet {
                say(&format!("wrote {}", html.display()));
            }
        }
        let leaves_out = report.leaves_out() && !self.allow_bad_rows;
        Ok(u8::from(report.is_no() || leaves_out))
    }
}

/// A person's own terminal or file takes what it gets.
const RESULT_BYTES_MAX: u64 = 64 * 1024 * 1024;
/// As long as a call can be given; Ctrl-C ends it earlier.
const TIMEOUT_SECONDS: u64 = 24 * 60 * 60;
