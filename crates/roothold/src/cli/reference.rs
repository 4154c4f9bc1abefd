//! The page of the command line, made from the help of the commands.

use std::fmt::Write as _;
use std::path::Path;

use clap::{Command, CommandFactory as _};

use super::{Cli, disk};

const HEAD: &str = "# Command line

This page is made from the code by `cargo xtask golden`; do not edit it. `roothold COMMAND --help` says the same.

Flags win over `ROOTHOLD_SECTION__KEY` variables, which win over the file of `--config`. Results go to stdout, all else
to stderr.
";

/// The width of the page, whatever the terminal of the test.
const WIDTH: usize = 100;

fn page() -> String {
    let mut text = String::from(HEAD);
    let mut root = Cli::command().term_width(WIDTH);
    root.build();
    section(&mut text, &mut root, "roothold");
    text
}

fn section(text: &mut String, command: &mut Command, name: &str) {
    let help = command.render_long_help().to_string();
    let lines: Vec<&str> = help.lines().map(str::trim_end).collect();
    let _ = write!(text, "\n## `{name}`\n\n```text\n{}\n```\n", lines.join("\n"));
    for inner in command.get_subcommands_mut().filter(|inner| inner.get_name() != "help") {
        let name = format!("{name} {}", inner.get_name());
        section(text, inner, &name);
    }
}

#[test]
fn golden_page_of_the_command_line() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/cli.md");
    let page = page();
    if disk::variable("UPDATE_GOLDEN").is_some() {
        disk::overwrite(&path, &page);
    }
    let written = disk::read(&path, 1 << 20).unwrap();
    assert!(written == page, "docs/cli.md is not the help of the commands; run cargo xtask golden");
}

#[test]
fn every_command_is_sound_and_has_help() {
    Cli::command().debug_assert();
    for command in Cli::command().get_subcommands() {
        assert!(command.get_about().is_some(), "{}", command.get_name());
        for argument in command.get_arguments() {
            assert!(argument.get_help().is_some(), "{} {}", command.get_name(), argument.get_id());
        }
    }
}
