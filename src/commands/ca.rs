//! `modtape ca`: a running recorder's certificate authority. Its key is in the recorder's memory
//! only.

use std::path::Path;
use std::process::ExitCode;

use anyhow::Context as _;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;

use super::session::running::{self, Running};
use crate::ca;
use crate::cli::{CaArgs, CaCommand, Global};
use crate::terminal::{say, to_stdout};

/// Prints the path of the bundle, or the root certificate of the run.
pub(super) fn run(args: &CaArgs, global: &Global) -> anyhow::Result<ExitCode> {
    match &args.command {
        CaCommand::Path { recording } => {
            let running = running::find(recording.as_deref(), "modtape record", Running::has_root)?;
            let bundle = bundle(&running)?;
            to_stdout(|out| Ok(writeln!(out, "{}", bundle.display())?))?;
        }
        CaCommand::Show { recording } => {
            let running = running::find(recording.as_deref(), "modtape record", Running::has_root)?;
            let pem = ca::to_pem(&root(&running)?);
            say(global, scope(&running));
            to_stdout(|out| Ok(out.write_all(pem.as_bytes())?))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn bundle(running: &Running) -> anyhow::Result<&Path> {
    let name = &running.name;
    let message = || format!("the recorder of {name} is a gateway: it needs no certificate");
    running.bundle.as_deref().with_context(message)
}

/// The root of the run is the last certificate in the bundle.
fn root(running: &Running) -> anyhow::Result<CertificateDer<'static>> {
    let bundle = bundle(running)?;
    let message = || format!("cannot read {}", bundle.display());
    let mut all = CertificateDer::pem_file_iter(bundle).with_context(message)?;
    let last = all.by_ref().flatten().last();
    last.with_context(message)
}

fn scope(running: &Running) -> String {
    let whom = if running.intercepted.is_empty() {
        String::from("any DNS name (--intercept-all), but no IP address")
    } else {
        format!(
            "{} and their subdomains, nothing else",
            running.intercepted.join(", ")
        )
    };
    format!(
        "modtape: the key of this root is in the memory of process {} (recording {})\n\
         modtape: it can sign certificates for {whom}",
        running.pid, running.name
    )
}
