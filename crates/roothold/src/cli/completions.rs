//! `roothold completions`.

use clap::{Args, CommandFactory as _};
use clap_complete::Shell;

use super::{Cli, print};

/// Prints a completion script for a shell.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Completions {
    /// The shell.
    #[arg(value_name = "SHELL")]
    shell: Shell,
}

const EXAMPLES: &str = "Examples:
  roothold completions bash > ~/.local/share/bash-completion/completions/roothold
  roothold completions zsh > ~/.zfunc/_roothold
  roothold completions fish > ~/.config/fish/completions/roothold.fish";

impl Completions {
    #[expect(clippy::unnecessary_wraps, reason = "every command has this form")]
    pub(super) fn run(self) -> anyhow::Result<u8> {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut Cli::command(), "roothold", &mut script);
        print(String::from_utf8_lossy(&script).trim_end());
        Ok(0)
    }
}
