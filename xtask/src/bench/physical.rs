//! What the work costs without any server: the plain system calls, or the tool that people use
//! for it at a terminal.

use std::fs::File;
use std::io::Write as _;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};

use super::corpus::Corpus;
use super::family::ended_children_cpu;
use super::rivals::FD;

/// Work to measure.
#[derive(Debug, Clone)]
pub(super) enum Bare {
    /// `readdir` and the kind of each entry.
    ReadDirectory(PathBuf),
    /// `readdir` and `lstat` of each entry.
    ReadSizes(PathBuf),
    /// open, pread, close.
    ReadFiles(Vec<PathBuf>),
    /// A file's content written anew: a new file, synced, and renamed.
    Replace(PathBuf),
    /// A program, with how it is called in the table.
    Program(&'static str, Vec<String>),
    /// This part of what a program takes.
    PartOf(f64, &'static str, Vec<String>),
}

/// The name of [`Bare::ReadDirectory`].
pub(super) const READDIR: &str = "readdir";
/// The name of [`Bare::ReadFiles`].
pub(super) const PREAD: &str = "pread";
/// The name of [`Bare::count_to`].
pub(super) const COUNT_TO: &str = "wc -l to there";
/// The name of [`Bare::search`].
pub(super) const RG: &str = "rg";

/// A name and milliseconds of processor time.
pub(super) type Figure = (String, f64);

impl Bare {
    pub(super) fn tree(corpus: &Corpus, fd: Option<&Path>) -> Vec<Self> {
        let tree = corpus.tree().display().to_string();
        let mut all = vec![Self::Program("find", vec!["find".to_owned(), tree.clone()])];
        if let Some(fd) = fd {
            let fd = fd.display().to_string();
            let args = [&fd, "--unrestricted", ".", &tree].map(str::to_owned);
            all.push(Self::Program(FD, args.to_vec()));
        }
        all
    }

    pub(super) fn glob(corpus: &Corpus, fd: Option<&Path>) -> Vec<Self> {
        let tree = corpus.tree().display().to_string();
        let find = ["find", &tree, "-name", "*.md"].map(str::to_owned);
        let mut all = vec![Self::Program("find", find.to_vec())];
        if let Some(fd) = fd {
            let fd = fd.display().to_string();
            let args = [&fd, "--unrestricted", "--glob", "*.md", &tree].map(str::to_owned);
            all.push(Self::Program(FD, args.to_vec()));
        }
        all
    }

    /// The lines of the tree that match.
    pub(super) fn search(corpus: &Corpus, pattern: &str, is_literal: bool) -> Vec<Self> {
        if !is_installed(RG) {
            println!("NOT MEASURED: {RG} is not installed");
            return Vec::new();
        }
        let tree = corpus.tree().display().to_string();
        let how = if is_literal { "--fixed-strings" } else { "--crlf" };
        let args = [RG, "--no-ignore", "--hidden", "--line-number", how, "-e", pattern, &tree];
        vec![Self::Program(RG, args.map(str::to_owned).to_vec())]
    }

    /// The lines from `first` to `last` of the log.
    pub(super) fn lines(corpus: &Corpus, first: u64, last: u64) -> Self {
        let script = format!("{first},{last}p;{last}q");
        Self::Program("sed", vec!["sed".to_owned(), "-n".to_owned(), script, log(corpus)])
    }

    /// Counting the lines of the log up to `line`: a part of counting them all.
    pub(super) fn count_to(corpus: &Corpus, line: u64) -> Self {
        #[expect(clippy::cast_precision_loss, reason = "no log has 2^52 lines")]
        let part = line as f64 / corpus.log_lines() as f64;
        Self::PartOf(part, COUNT_TO, vec!["wc".to_owned(), "-l".to_owned(), log(corpus)])
    }

    /// `head` or `tail`.
    pub(super) fn end(corpus: &Corpus, which: &'static str, lines: u64) -> Self {
        let args = vec![which.to_owned(), "-n".to_owned(), lines.to_string(), log(corpus)];
        Self::Program(which, args)
    }

    /// Processor time of one run, over as many runs as `target` takes.
    pub(super) fn measure(&self, target: Duration) -> anyhow::Result<Figure> {
        match self {
            Self::ReadDirectory(place) => {
                Ok((READDIR.to_owned(), own(target, || entries(place, false))?))
            }
            Self::ReadSizes(place) => {
                Ok(("readdir + lstat".to_owned(), own(target, || entries(place, true))?))
            }
            Self::ReadFiles(files) => Ok((PREAD.to_owned(), own(target, || read(files))?)),
            Self::Replace(file) => {
                Ok(("write, fsync, rename".to_owned(), own(target, || replace(file))?))
            }
            Self::Program(name, args) => Ok(((*name).to_owned(), program(target, args)?)),
            Self::PartOf(part, name, args) => {
                Ok(((*name).to_owned(), program(target, args)? * part))
            }
        }
    }
}

fn log(corpus: &Corpus) -> String {
    corpus.log().display().to_string()
}

fn is_installed(program: &str) -> bool {
    let version = Command::new(program).arg("--version").stdout(Stdio::null()).status();
    version.is_ok_and(|status| status.success())
}

fn entries(place: &Path, sizes: bool) -> anyhow::Result<()> {
    let mut bytes = 0;
    for entry in std::fs::read_dir(place)? {
        let entry = entry?;
        if sizes {
            bytes += entry.metadata()?.len();
        }
        std::hint::black_box((entry.file_name(), entry.file_type()?, bytes));
    }
    Ok(())
}

fn read(files: &[PathBuf]) -> anyhow::Result<()> {
    let mut buffer = vec![0; 64 * 1024];
    for file in files {
        let read = File::open(file)?.read_at(&mut buffer, 0)?;
        std::hint::black_box(&buffer[..read]);
    }
    Ok(())
}

fn replace(file: &Path) -> anyhow::Result<()> {
    let content = std::fs::read(file)?;
    let new = file.with_extension("new");
    let mut written = File::create(&new)?;
    written.write_all(&content)?;
    written.sync_all()?;
    Ok(std::fs::rename(new, file)?)
}

/// Milliseconds of this thread's processor time for one run of `work`.
fn own(target: Duration, work: impl Fn() -> anyhow::Result<()>) -> anyhow::Result<f64> {
    work()?;
    let before = own_cpu()?;
    let started = Instant::now();
    let mut runs = 0_u32;
    while started.elapsed() < target {
        work()?;
        runs += 1;
    }
    Ok(own_cpu()?.saturating_sub(before).as_secs_f64() * 1e3 / f64::from(runs))
}

/// The scheduler counts a thread's time in nanoseconds.
fn own_cpu() -> anyhow::Result<Duration> {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat")?;
    let nanoseconds = stat.split(' ').next().context("schedstat is empty")?;
    Ok(Duration::from_nanos(nanoseconds.parse()?))
}

/// Milliseconds of processor time for one run of a program, its start included.
fn program(target: Duration, args: &[String]) -> anyhow::Result<f64> {
    let before = ended_children_cpu()?;
    let started = Instant::now();
    let mut runs = 0_u32;
    while runs < 3
        || (ended_children_cpu()?.saturating_sub(before) < target && started.elapsed() < target * 5)
    {
        let status = Command::new(&args[0])
            .args(&args[1..])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .status()
            .with_context(|| format!("starting {}", args[0]))?;
        ensure!(status.success(), "{} failed", args[0]);
        runs += 1;
    }
    Ok(ended_children_cpu()?.saturating_sub(before).as_secs_f64() * 1e3 / f64::from(runs))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_above_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("a");
        std::fs::write(&file, "x").unwrap();
        let short = Duration::from_millis(5);
        for bare in [
            Bare::ReadDirectory(dir.path().to_owned()),
            Bare::ReadSizes(dir.path().to_owned()),
            Bare::ReadFiles(vec![file.clone()]),
            Bare::Replace(file.clone()),
        ] {
            assert!(bare.measure(short).unwrap().1 > 0.0);
        }
        assert_eq!(std::fs::read(&file).unwrap(), b"x");
        let none = Bare::Program("false", vec!["false".to_owned()]);
        assert!(none.measure(short).is_err());
    }
}
