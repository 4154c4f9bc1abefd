//! The events that questions are asked about: the same rows as CSV, JSON Lines and Parquet, made once
//! from a seed and reused.
//!
//! Messages vary as those of logs do, with durations, sizes and numbers in them: texts of which
//! there are only a few would say how fast a dictionary is. A known part of them tells of a
//! `timeout`.
//!
//! Invariant: files whose stamp stands are whole. The stamp is written last.

use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, ensure};

use super::super::corpus::Random;

/// Changes whenever the same seed would make other files.
const STAMP: &str = "events 3";

const REGIONS: [&str; 8] =
    ["north", "south", "east", "west", "centre", "coast", "islands", "highlands"];
const CATEGORIES: [&str; 12] = [
    "login", "search", "upload", "download", "checkout", "refund", "invite", "export", "import",
    "share", "archive", "delete",
];

/// The files.
pub(super) struct Events {
    pub(super) place: PathBuf,
}

impl Events {
    /// A gigabyte of CSV, or a tenth of that.
    pub(super) fn open(parent: &Path, quick: bool, python: (&Path, &Path)) -> anyhow::Result<Self> {
        let bytes: u64 = if quick { 100_000_000 } else { 1_000_000_000 };
        let place = parent.join(format!("bench-events-{}mb", bytes / 1_000_000));
        let events = Self { place };
        let stamp = events.place.join("stamp");
        if std::fs::read_to_string(&stamp).is_ok_and(|stamp| stamp == STAMP) {
            return Ok(events);
        }
        println!("making the events to measure on in {}", events.place.display());
        std::fs::create_dir_all(&events.place)?;
        events.text(bytes)?;
        let (python, script) = python;
        let status = Command::new(python)
            .arg("-B")
            .arg(script)
            .arg("parquet")
            .args([events.file("csv"), events.file("parquet")])
            .status()
            .context("starting python3")?;
        ensure!(status.success(), "the events could not be written as Parquet");
        std::fs::write(stamp, STAMP)?;
        Ok(events)
    }

    pub(super) fn file(&self, format: &str) -> PathBuf {
        self.place.join(format!("events.{format}"))
    }

    pub(super) fn size_of(&self, format: &str) -> anyhow::Result<String> {
        Ok(format!("{} MB", std::fs::metadata(self.file(format))?.len() / 1_000_000))
    }

    /// Writes CSV, until it has so many bytes, and JSON Lines beside it. Amounts are quarters, so
    /// that their sum does not depend on the order.
    fn text(&self, bytes: u64) -> anyhow::Result<()> {
        let mut csv = BufWriter::new(File::create(self.file("csv"))?);
        let mut jsonl = BufWriter::new(File::create(self.file("jsonl"))?);
        let (mut random, mut written, mut id) = (Random(7), 0, 0_u64);
        writeln!(csv, "id,at,region,category,amount,message")?;
        while written < bytes {
            let region = random.pick(&REGIONS);
            let category = random.pick(&CATEGORIES);
            let message = message(&mut random);
            let quarters = random.below(40_000_000);
            let amount = format!("{}.{:02}", quarters / 4, quarters % 4 * 25);
            let second = id / 4;
            let (day, hour) = (1 + second / 86_400 % 28, second / 3_600 % 24);
            let (month, minute) = (1 + second / (28 * 86_400) % 12, second / 60 % 60);
            let at = format!("2026-{month:02}-{day:02}T{hour:02}:{minute:02}:{:02}Z", second % 60);
            let line = format!("{id},{at},{region},{category},{amount},{message}\n");
            csv.write_all(line.as_bytes())?;
            writeln!(
                jsonl,
                r#"{{"id":{id},"at":"{at}","region":"{region}","category":"{category}","amount":{amount},"message":"{message}"}}"#
            )?;
            written += line.len() as u64;
            id += 1;
        }
        csv.flush()?;
        Ok(jsonl.flush()?)
    }
}

/// What an event says: one in eight tells of a timeout.
fn message(random: &mut Random) -> String {
    let (took, number) = (random.below(5_000), random.below(30_000));
    match random.below(8) {
        0 => format!("upstream timeout after {took} ms in attempt 3 of request {number} failed"),
        1 => format!("request {number} was served from the cache in {took} ms"),
        2 => format!("request {number} was served by a replica after {took} ms"),
        3 => format!("client closed connection {number} after {took} ms"),
        4 => format!("quota of account {number} is almost used up with {took} calls left"),
        5 => format!("credential of account {number} was renewed for {took} s"),
        6 => format!("slow query {number} was logged since it took {took} ms"),
        _ => format!("job {number} ended as expected after {took} ms"),
    }
}
