use std::path::Path;

use clap::CommandFactory;

use super::*;

#[test]
fn the_command_line_is_consistent() {
    Cli::command().debug_assert();
}

#[test]
fn help_teaches() {
    let help = Cli::command().render_long_help().to_string();
    for part in [
        "Start here",
        "Exit codes",
        "bootstrap.servers",
        "--log-format",
    ] {
        assert!(help.contains(part), "{part}");
    }
}

#[test]
fn errors_become_exit_codes() {
    let sources = Sources {
        variable: &|_| None,
        file: &|_| Err(io::ErrorKind::NotFound.into()),
    };
    let config = Config::load(Path::new("none.toml"), &sources).unwrap_err();
    assert!(config.to_string().starts_with("none.toml: "));
    assert_eq!(exit_code(&anyhow::Error::from(config).context("more")), 2);
    assert_eq!(exit_code(&anyhow::anyhow!("other")), 1);
}
