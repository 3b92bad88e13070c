//! The files of modules that came from their repositories, checked as the answers of module proxies are.

use std::io::{self, Read as _};

use rawzip::{FileReader, ReaderAt};

use super::runtime::Stop;
use crate::diagnose::content::{Checked, File};
use crate::exchange::{Body, chain};
use crate::gomod::{Kind, Location, ModuleZip, Route, TEXT_LIMIT, check_content, go_mod_h1};
use crate::recording::Recording;
use crate::recording::format::{DirectModule, Fault, Hashed};
use crate::recording::reader::Stored;

/// Adds what is known of the files of these modules, which `recording` keeps. Zips are hashed if `hashes_all`
/// says so. `None` if a signal was received before the end.
pub(super) fn check_direct(
    recording: &Recording,
    modules: &[DirectModule],
    hashes_all: bool,
    stop: &Stop,
    checked: &mut Checked,
) -> Option<()> {
    for of in modules {
        let host = of.repository.as_deref().unwrap_or(&of.module);
        let host = Location::of(host).host;
        for (kind, kept) in of.files() {
            let body = kept.body();
            let sum = match kind {
                Kind::Zip => zip(recording, of, &body, hashes_all, stop),
                _ => text(recording, of, kind, &body),
            };
            if stop.is_heard() {
                return None;
            }
            let file = File {
                module: of.module.clone(),
                version: of.version.clone(),
                kind,
            };
            match sum {
                Ok(Some(sum)) => checked.files.entry(file).or_default().served.push(Hashed {
                    run: of.run,
                    exchange: 0,
                    host: host.clone(),
                    sum,
                }),
                Ok(None) => {}
                Err(why) => {
                    let fault = Fault {
                        run: of.run,
                        exchange: 0,
                        kind,
                        what: route(of, kind).what(),
                        host: host.clone(),
                        why,
                    };
                    if kind != Kind::Info {
                        let found = checked.files.entry(file).or_default();
                        found.invalid.push(fault.clone());
                    }
                    checked.faults.push(fault);
                }
            }
        }
    }
    Some(())
}

/// The request that a module proxy would have been asked for a file.
fn route(of: &DirectModule, kind: Kind) -> Route {
    Route {
        kind,
        module: Some(of.module.clone()),
        version: Some(of.version.clone()),
        tile: None,
        sumdb: None,
        path: String::new(),
    }
}

/// Checks a text; the hash of a go.mod.
fn text(
    recording: &Recording,
    of: &DirectModule,
    kind: Kind,
    body: &Body,
) -> Result<Option<String>, String> {
    let reader = recording.body(body).map_err(|error| chain(&error))?;
    let mut content = Vec::new();
    let read = reader.take(TEXT_LIMIT + 1).read_to_end(&mut content);
    read.map_err(|error| chain(&error))?;
    check_content(&route(of, kind), &content).map_err(|fault| fault.to_string())?;
    Ok((kind == Kind::Mod).then(|| go_mod_h1(&content)))
}

/// Checks a zip; its hash, if that is asked for and nothing stops it.
fn zip(
    recording: &Recording,
    of: &DirectModule,
    body: &Body,
    hashes_all: bool,
    stop: &Stop,
) -> Result<Option<String>, String> {
    if hashes_all {
        // All of it is held against its digest before any of it is believed.
        let mut reader = recording.body(body).map_err(|error| chain(&error))?;
        io::copy(&mut reader, &mut io::sink()).map_err(|error| chain(&error))?;
    }
    let stored = recording.stored(body).map_err(|error| chain(&error))?;
    let reader: Box<dyn ReaderAt> = match stored {
        Stored::Inline(bytes) => Box::new(bytes),
        Stored::File(file) => Box::new(FileReader::from(file)),
    };
    let zip = ModuleZip::open(reader, body.bytes, &of.module, &of.version);
    let zip = zip.map_err(|fault| chain(&fault))?;
    match hashes_all {
        true => zip
            .h1_unless(|| stop.is_heard())
            .map_err(|fault| chain(&fault)),
        false => Ok(None),
    }
}
