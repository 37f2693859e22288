//! `docs/command-line.md` is what `--help` says: `UPDATE_DOCS=1 cargo test --test integration command_line` writes it.

use std::fmt::Write as _;

use clap::{Command, CommandFactory as _};
use contact_center_exporter::cli::Cli;

use super::support::assert_written;

const DOCUMENT: &str = "docs/command-line.md";

const INTRODUCTION: &str = "# The command line

What `--help` prints, command by command; `UPDATE_DOCS=1 cargo test --test integration command_line` writes it anew.
";

fn document() -> String {
    let mut whole = Cli::command();
    whole.build();
    let mut text = format!("{INTRODUCTION}{}", section(&mut whole));
    for command in whole.get_subcommands_mut().filter(|command| command.get_name() != "help") {
        text.push_str(&section(command));
    }
    text
}

fn section(command: &mut Command) -> String {
    let mut text = String::new();
    let name = command.get_bin_name().unwrap_or(command.get_name()).to_owned();
    let _ = write!(text, "\n## {name}\n\n```text\n");
    for line in command.render_long_help().to_string().lines() {
        let _ = writeln!(text, "{}", line.trim_end());
    }
    text + "```\n"
}

#[test]
fn the_document_is_what_help_says() {
    assert_written(DOCUMENT, &document());
}
