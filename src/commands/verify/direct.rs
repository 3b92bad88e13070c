//! The files of modules that came from their repositories, hashed as the answers of module proxies are.

use std::io;

use rawzip::FileReader;

use crate::diagnose::content::{Checked, File};
use crate::exchange::chain;
use crate::gomod::{Kind, Location, ModuleZip, go_mod_h1};
use crate::recording::Recording;
use crate::recording::format::{DirectModule, Fault, Hashed, KeptFile};
use crate::recording::reader::body::Stored;

/// Adds what is known of these files.
pub(super) fn add_direct(recording: &Recording, checked: &mut Checked) {
    for of in &recording.manifest().direct {
        let host = of.repository.as_deref().unwrap_or(&of.module);
        let host = Location::of(host).host;
        for (kind, kept) in of.files().filter(|(kind, _)| *kind != Kind::Info) {
            let file = File {
                module: of.module.clone(),
                version: of.version.clone(),
                kind,
            };
            let found = checked.files.entry(file).or_default();
            match h1(recording, of, kind, kept) {
                Ok(sum) => found.served.push(Hashed {
                    run: of.run,
                    exchange: 0,
                    host: host.clone(),
                    sum,
                }),
                Err(why) => {
                    let fault = Fault {
                        run: of.run,
                        exchange: 0,
                        kind,
                        what: format!("{kind} {} {}", of.module, of.version),
                        host: host.clone(),
                        why,
                    };
                    found.invalid.push(fault.clone());
                    checked.faults.push(fault);
                }
            }
        }
    }
}

/// The hash of a file as go.sum has it, or why it has none.
fn h1(
    recording: &Recording,
    of: &DirectModule,
    kind: Kind,
    kept: KeptFile,
) -> Result<String, String> {
    let body = kept.body();
    let mut reader = recording.body(&body).map_err(|error| chain(&error))?;
    if kind == Kind::Mod {
        let content = io::read_to_string(reader).map_err(|error| chain(&error))?;
        return Ok(go_mod_h1(content.as_bytes()));
    }
    // All of it is held against its digest before any of it is believed.
    io::copy(&mut reader, &mut io::sink()).map_err(|error| chain(&error))?;
    let stored = recording.stored(&body).map_err(|error| chain(&error))?;
    let Stored::File(file) = stored else {
        return Err(String::from("it is no file"));
    };
    let zip = ModuleZip::open(FileReader::from(file), kept.bytes, &of.module, &of.version);
    zip.and_then(|zip| zip.h1()).map_err(|fault| chain(&fault))
}
