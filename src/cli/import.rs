//! Making recordings of what others recorded: `import`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

/// `modtape import`
#[derive(Debug, Args)]
#[command(after_help = "\
What a HAR cannot tell is not made up: the recording has no settings of the go command, no trailers, \
and no ends of connections. A body stands in it as the HAR has it: decoded, without its content \
coding. An exchange whose body the HAR left out, cut or replaced counts as aborted. What is odd is \
said in one line a kind; the exit code is 3 if an HTTP entry was lost or the file is cut off.")]
pub(crate) struct ImportArgs {
    /// The format
    pub(crate) format: ImportFormat,
    /// The file, plain, gzip or zip: of a browser, mitmproxy, Charles, Playwright or modtape
    pub(crate) file: PathBuf,
    /// Name or path of the recording [default: FORMAT-MMDD-HHMM]
    #[arg(short, long, value_name = "NAME")]
    pub(crate) output: Option<PathBuf>,
    /// Replace the recording that -o names, if there is one
    #[arg(long)]
    pub(crate) force: bool,
    /// Keep secrets as they are, and mark the recording
    #[arg(long)]
    pub(crate) no_redact: bool,
}

/// Formats that a recording can be made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ImportFormat {
    /// HTTP Archive 1.2
    Har,
}
