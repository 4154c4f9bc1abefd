//! `roothold install`: this server as an entry in a client's own configuration.

mod merge;

use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail, ensure};
use clap::{Args, ValueEnum};
use serde_json::{Value, json};

use super::{disk, print, say};

/// Prints the entry for a client, or writes it into the client's configuration.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Install {
    /// The client.
    #[arg(value_name = "CLIENT")]
    client: Client,
    /// Directories to serve over stdio. Default: the current one.
    #[arg(value_name = "DIR", conflicts_with = "http")]
    directories: Vec<PathBuf>,
    /// Let the client change files in the directories (without it they are read-only).
    #[arg(long, conflicts_with = "http")]
    allow_write: bool,
    /// The URL of a server that runs already, instead of directories.
    #[arg(long, value_name = "URL")]
    http: Option<String>,
    /// The name of the entry.
    #[arg(long, value_name = "NAME", default_value = "roothold")]
    name: String,
    /// Write the entry into the client's file, and keep the old file beside it; says nothing about the directories.
    #[arg(long)]
    write: bool,
    /// The client's file, if it is not where that client has it by default.
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
}

const EXAMPLES: &str =
    "The files: claude-code .mcp.json and vscode .vscode/mcp.json in the current directory, cursor ~/.cursor/mcp.json, claude-desktop claude_desktop_config.json in its own directory.

Examples:
  roothold install claude-code ~/projects
  roothold install cursor ~/projects --allow-write --write
  roothold install vscode --http http://127.0.0.1:8000/mcp --write";

/// Clients whose configuration is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Client {
    /// Claude Code, for the project in the current directory.
    ClaudeCode,
    /// Claude Desktop.
    ClaudeDesktop,
    /// Visual Studio Code, for the workspace in the current directory.
    Vscode,
    /// Cursor.
    Cursor,
}

/// A larger file is no client's configuration.
const FILE_BYTES_MAX: u64 = 4 * 1024 * 1024;

impl Client {
    /// The key that holds the entries.
    fn key(self) -> &'static str {
        match self {
            Self::Vscode => "servers",
            Self::ClaudeCode | Self::ClaudeDesktop | Self::Cursor => "mcpServers",
        }
    }

    fn file(self) -> anyhow::Result<PathBuf> {
        match self {
            Self::ClaudeCode => Ok(PathBuf::from(".mcp.json")),
            Self::Vscode => Ok(PathBuf::from(".vscode/mcp.json")),
            Self::Cursor => disk::user_directory("", ".cursor").map(|dir| dir.join("mcp.json")),
            Self::ClaudeDesktop => {
                let dir = if cfg!(target_os = "macos") {
                    disk::user_directory("", "Library/Application Support")?
                } else {
                    disk::user_directory("XDG_CONFIG_HOME", ".config")?
                };
                Ok(dir.join("Claude/claude_desktop_config.json"))
            }
        }
    }

    fn entry(self, way: &Way) -> anyhow::Result<Value> {
        let mut entry = match way {
            Way::Stdio { program, arguments } => json!({"command": program, "args": arguments}),
            Way::Http(url) => json!({"url": url}),
        };
        let kind = if matches!(way, Way::Http(_)) { "http" } else { "stdio" };
        match self {
            Self::ClaudeCode | Self::Vscode => entry["type"] = kind.into(),
            Self::ClaudeDesktop if kind == "http" => bail!(
                "the file of Claude Desktop names no URLs; add {} as a connector in its settings, or install a directory",
                entry["url"]
            ),
            Self::ClaudeDesktop | Self::Cursor => {}
        }
        Ok(entry)
    }
}

/// How the client reaches the server.
enum Way {
    Stdio { program: String, arguments: Vec<String> },
    Http(String),
}

impl Install {
    pub(super) fn run(self) -> anyhow::Result<u8> {
        let is_name = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        ensure!(
            !self.name.is_empty() && self.name.chars().all(is_name),
            "--name `{}` must be of letters, digits, - and _",
            self.name
        );
        let way = self.way()?;
        let entry = self.client.entry(&way)?;
        let file = match &self.file {
            Some(file) => file.clone(),
            None => self.client.file()?,
        };
        if !self.write {
            print(&format!("{:#}", json!({self.client.key(): {self.name.as_str(): entry}})));
            say(&format!("add this to {}, or repeat the command with --write", file.display()));
            if self.client == Client::ClaudeCode {
                say(&format!("or run: {}", self.add_line(&way)));
            }
            return Ok(0);
        }
        let old = disk::read_if_there(&file, FILE_BYTES_MAX)?;
        let new = merge::merge(old.as_deref().unwrap_or(""), self.client.key(), &self.name, &entry)
            .with_context(|| format!("{} is left as it is", file.display()))?;
        if old.as_deref() == Some(&*new) {
            say(&format!("{} has this entry already", file.display()));
            return Ok(0);
        }
        let kept = disk::replace(&file, &new)?;
        say(&format!("wrote `{}` into {}", self.name, file.display()));
        if let Some(kept) = kept {
            say(&format!("the old file is {}", kept.display()));
        }
        Ok(0)
    }

    fn way(&self) -> anyhow::Result<Way> {
        if let Some(url) = &self.http {
            return Ok(Way::Http(super::call::http::endpoint(url)?));
        }
        let text = |path: &Path| {
            path.to_str().map(str::to_owned).with_context(|| {
                format!("{} is not UTF-8, which no client's file can hold", path.display())
            })
        };
        let program = std::env::current_exe().context("where this program is cannot be known")?;
        let mut arguments = vec!["stdio".to_owned()];
        if self.allow_write {
            arguments.push("--write".to_owned());
        }
        let here = [PathBuf::from(".")];
        let directories = if self.directories.is_empty() { &here[..] } else { &self.directories };
        for directory in directories {
            ensure!(
                disk::is_directory(directory),
                "{} is no directory; name one that is there",
                directory.display()
            );
            // `components` drops the `.` that `absolute` keeps at the end.
            let absolute: PathBuf = std::path::absolute(directory)?.components().collect();
            arguments.push(text(&absolute)?);
        }
        Ok(Way::Stdio { program: text(&program)?, arguments })
    }

    fn add_line(&self, way: &Way) -> String {
        match way {
            Way::Http(url) => {
                format!("claude mcp add --transport http {} {}", self.name, quoted(url))
            }
            Way::Stdio { program, arguments } => {
                let words: Vec<String> = arguments.iter().map(|word| quoted(word)).collect();
                format!("claude mcp add {} -- {} {}", self.name, quoted(program), words.join(" "))
            }
        }
    }
}

/// A word as a shell reads it.
fn quoted(word: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "/._-:=".contains(c);
    if word.chars().all(is_plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', "'\\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_client_gets_its_own_form() {
        let stdio =
            Way::Stdio { program: "/bin/roothold".to_owned(), arguments: vec!["stdio".to_owned()] };
        let http = Way::Http("http://h/mcp".to_owned());
        let typed = json!({"type": "stdio", "command": "/bin/roothold", "args": ["stdio"]});
        let plain = json!({"command": "/bin/roothold", "args": ["stdio"]});
        assert_eq!(Client::Vscode.entry(&stdio).unwrap(), typed);
        assert_eq!(Client::ClaudeCode.entry(&stdio).unwrap(), typed);
        assert_eq!(Client::Cursor.entry(&stdio).unwrap(), plain);
        assert_eq!(Client::ClaudeDesktop.entry(&stdio).unwrap(), plain);
        assert_eq!(
            Client::Vscode.entry(&http).unwrap(),
            json!({"type": "http", "url": "http://h/mcp"})
        );
        assert_eq!(Client::Cursor.entry(&http).unwrap(), json!({"url": "http://h/mcp"}));
        assert!(Client::ClaudeDesktop.entry(&http).is_err());
        assert_eq!((Client::Vscode.key(), Client::Cursor.key()), ("servers", "mcpServers"));
    }

    #[test]
    fn words_survive_the_shell() {
        assert_eq!(quoted("/a/b-c"), "/a/b-c");
        assert_eq!(quoted("it's $HOME"), "'it'\\''s $HOME'");
    }
}
