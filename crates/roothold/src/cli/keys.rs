//! `roothold keys`: the API keys of a server.

use std::path::PathBuf;
use std::time::SystemTime;

use anyhow::{Context as _, bail};
use clap::{Args, Subcommand};
use jiff::tz::TimeZone;
use jiff::{Span, Timestamp, Zoned};
use roothold_edge::auth::{KeyEntry, KeysFile};

use super::{ConfigArgs, print, say};
use crate::grants;

/// Makes, lists and revokes API keys.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Keys {
    #[command(subcommand)]
    command: Command,
}

const EXAMPLES: &str =
    "A key is shown once, on stdout alone; the file holds its hash. A running server takes up changes of the file within two seconds.

Examples:
  (umask 077; roothold keys new ci --config roothold.toml --scopes 'files:read' --expires 90d > ci.key)
  roothold keys list --file keys.jsonl
  roothold keys revoke 3f9c01d7ab42 --file keys.jsonl";

#[derive(Debug, Subcommand)]
enum Command {
    /// Makes a key for a principal, and prints it.
    New(New),
    /// Lists the keys, without the keys themselves.
    List(List),
    /// Revokes a key.
    Revoke(Revoke),
}

#[derive(Debug, Args)]
struct New {
    /// Who the key stands for.
    #[arg(value_name = "PRINCIPAL")]
    principal: String,
    /// What the key can be used for, separated by spaces or commas.
    #[arg(long, value_name = "SCOPES", default_value = "files:read")]
    scopes: String,
    /// How long it is good, such as `90d`, `12h` or `1y 6mo`. Default: until it is revoked.
    #[arg(long, value_name = "SPAN")]
    expires: Option<String>,
    #[command(flatten)]
    file: WhichFile,
}

#[derive(Debug, Args)]
struct List {
    /// One JSON object a line.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    file: WhichFile,
}

#[derive(Debug, Args)]
struct Revoke {
    /// The id of the key, as `roothold keys list` shows it.
    #[arg(value_name = "ID")]
    id: String,
    #[command(flatten)]
    file: WhichFile,
}

#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
struct WhichFile {
    /// The configuration whose `auth.keys_file` is meant.
    #[arg(long, short, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The file of keys.
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
}

impl WhichFile {
    fn path(self) -> anyhow::Result<PathBuf> {
        if let Some(path) = self.file {
            return Ok(path);
        }
        let source = ConfigArgs { config: self.config, ..ConfigArgs::default() };
        let config = source.load(&[], false, Vec::new())?;
        config.auth.keys_file.context(
            "auth.keys_file is not set in the configuration; set it, or name the file with --file",
        )
    }

    fn open(self) -> anyhow::Result<KeysFile> {
        let path = self.path()?;
        KeysFile::open(&path).with_context(|| path.display().to_string())
    }

    /// The same of a file that must be there.
    fn open_old(self) -> anyhow::Result<KeysFile> {
        let path = self.path()?;
        if !path.exists() {
            bail!("{}: there is no such file", path.display());
        }
        KeysFile::open(&path).with_context(|| path.display().to_string())
    }
}

impl Keys {
    pub(super) fn run(self) -> anyhow::Result<u8> {
        match self.command {
            Command::New(new) => new.run(),
            Command::List(list) => list.run(),
            Command::Revoke(revoke) => revoke.run(),
        }
    }
}

impl New {
    fn run(self) -> anyhow::Result<u8> {
        let separators = |c: char| c == ',' || c.is_whitespace();
        let scopes: Vec<String> = self
            .scopes
            .split(separators)
            .filter(|scope| !scope.is_empty())
            .map(str::to_owned)
            .collect();
        if let Some(wrong) = scopes.iter().find_map(|scope| grants::misspelt_scope(scope)) {
            bail!("--scopes: {wrong}");
        }
        let now = Timestamp::now().to_zoned(TimeZone::UTC);
        let expires = self.expires.map(|text| ends(&text, &now)).transpose()?;
        let (entry, key) = self.file.open()?.new_key(&self.principal, &scopes, expires)?;
        say(&format!("made {}", line(&entry)));
        say("this key is shown now and never again:");
        print(key.reveal());
        Ok(0)
    }
}

impl List {
    fn run(self) -> anyhow::Result<u8> {
        let entries = self.file.open_old()?.list()?;
        for entry in &entries {
            print(&if self.json { serde_json::to_string(entry)? } else { line(entry) });
        }
        if entries.is_empty() {
            say("there are no keys; `roothold keys new` makes one");
        }
        Ok(0)
    }
}

impl Revoke {
    fn run(self) -> anyhow::Result<u8> {
        let entry = self.file.open_old()?.revoke(&self.id)?;
        say(&format!("revoked {}", line(&entry)));
        Ok(0)
    }
}

/// When a span from `now` ends.
fn ends(text: &str, now: &Zoned) -> anyhow::Result<SystemTime> {
    let span: Span = text
        .parse()
        .ok()
        .with_context(|| format!("--expires `{text}` is no span; write it as 90d or 12h"))?;
    if !span.is_positive() {
        bail!("--expires `{text}` is not in the future");
    }
    let end = now.checked_add(span).context("--expires is too far away")?;
    Ok(end.timestamp().into())
}

fn line(entry: &KeyEntry) -> String {
    let time = |time: SystemTime| {
        Timestamp::try_from(time).map_or_else(
            |_| "unknown".to_owned(),
            |time| time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
        )
    };
    let state = match (entry.revoked(), entry.expires()) {
        (Some(revoked), _) => format!("revoked {}", time(revoked)),
        (None, Some(expires)) if expires <= SystemTime::now() => {
            format!("expired {}", time(expires))
        }
        (None, Some(expires)) => format!("expires {}", time(expires)),
        (None, None) => "no expiry".to_owned(),
    };
    format!(
        "{}  {}  {}  made {}  {state}",
        entry.id(),
        entry.principal(),
        entry.scopes().join(" "),
        time(entry.created())
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_days_hours_or_iso_and_in_the_future() {
        let now: Timestamp = "2026-01-31T00:00:00Z".parse().unwrap();
        let now = now.to_zoned(TimeZone::UTC);
        for (text, expected) in [
            ("90d", "2026-05-01T00:00:00Z"),
            ("12h", "2026-01-31T12:00:00Z"),
            ("1mo", "2026-02-28T00:00:00Z"),
            ("P1Y", "2027-01-31T00:00:00Z"),
        ] {
            let end = Timestamp::try_from(ends(text, &now).unwrap()).unwrap();
            assert_eq!(end.to_string(), expected, "{text}");
        }
        for bad in ["", "soon", "90", "-1d", "0d"] {
            assert!(ends(bad, &now).is_err(), "{bad}");
        }
    }
}
