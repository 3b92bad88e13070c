//! Parse, run, exit code.

use std::process::ExitCode;

use modtape::cli::Cli;
use modtape::commands;

fn main() -> ExitCode {
    let words: Vec<_> = std::env::args_os().collect();
    match Cli::of(&words) {
        Ok(cli) => commands::run(&cli),
        Err(error) => {
            // Help and version go to stdout and are not errors.
            let code = if error.use_stderr() {
                commands::usage_code(&words)
            } else {
                ExitCode::SUCCESS
            };
            let _ = error.print();
            code
        }
    }
}
