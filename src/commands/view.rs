//! `modtape view`: a recording in a browser, while it is written and afterwards.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::sync::Arc;

use anyhow::{Context as _, anyhow};
use tempfile::{NamedTempFile, TempDir};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::failure::{Advise as _, Failure, USAGE};
use super::runtime::block_on;
use super::selection::{open, resolve};
use crate::child::Signals;
use crate::cli::{Global, ViewArgs};
use crate::proxy::Token;
use crate::report::{self, Live};
use crate::terminal::{say, say_always};

/// Serves the page until a signal.
pub(super) fn run(args: &ViewArgs, global: &Global) -> Result<ExitCode, Failure> {
    if !args.listen.ip().is_loopback() {
        let error = Err::<(), _>(anyhow!(
            "--listen {}: the page is for this machine",
            args.listen
        ));
        let help = "from another one: `ssh -L PORT:127.0.0.1:PORT HOST`, or mail what `modtape report --format html` writes";
        return Err(Failure::new(
            USAGE,
            error.help(help).expect_err("it is one"),
        ));
    }
    let folder = resolve(&args.name, global)?;
    // Says what is wrong with it, once.
    open(&args.name, global)?;
    block_on(serve(args, folder, global))?
}

async fn serve(
    args: &ViewArgs,
    folder: std::path::PathBuf,
    global: &Global,
) -> Result<ExitCode, Failure> {
    let mut signals = Signals::listen().context("cannot listen to signals")?;
    let listener = TcpListener::bind(args.listen).await;
    let listener = listener
        .with_context(|| format!("cannot listen on {}", args.listen))
        .help("--listen 127.0.0.1:0 takes a free port")?;
    let live = Live {
        folder,
        address: listener.local_addr().context("cannot listen")?,
        token: Token::random().secret().to_owned(),
    };
    let url = live.url();
    say_always(&url);
    say(global, "Ctrl-C ends it");
    let way = match args.no_open {
        true => None,
        false => show(&url),
    };
    let stop = CancellationToken::new();
    let serving = report::serve(listener, Arc::new(live), stop.clone());
    tokio::select! {
        () = serving => {}
        _ = signals.next() => stop.cancel(),
    }
    drop(way);
    Ok(ExitCode::SUCCESS)
}

/// Opens the user's browser, if there is one. The address has a token, which the arguments of a program would show to
/// every user of the machine: so it goes by a file that only its owner reads, and that must stay for a while.
fn show(url: &str) -> Option<TempDir> {
    let folder = TempDir::with_prefix("modtape-view-").ok()?;
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o700)).ok()?;
    let mut file = NamedTempFile::with_suffix_in(".html", folder.path()).ok()?;
    let page = format!("<!doctype html><meta http-equiv=\"refresh\" content=\"0; url={url}\">");
    file.write_all(page.as_bytes()).ok()?;
    let (_, path) = file.keep().ok()?;
    browse(&path).then_some(folder)
}

fn browse(path: &Path) -> bool {
    let program = if cfg!(target_os = "macos") {
        "open"
    } else {
        "xdg-open"
    };
    let mut browser = Command::new(program);
    browser.arg(path).stdin(Stdio::null());
    browser.stdout(Stdio::null()).stderr(Stdio::null());
    // Ctrl-C is for us, and not for a browser that this starts.
    browser.process_group(0);
    let Ok(mut browser) = browser.spawn() else {
        return false;
    };
    std::thread::spawn(move || browser.wait());
    true
}
