//! What is put into a store on purpose, whoever may ask for it later.

use std::sync::Arc;

use http::StatusCode;

use super::answer::{Answer, Content};
use super::item::{Item, Life};
use super::server::{Obtained, Server};
use crate::gomod::{Kind, ModuleZip, go_mod_h1};

/// An answer that the store has now.
#[derive(Debug)]
pub(crate) struct Filled {
    answer: Answer,
}

impl Server {
    /// Has an answer in the store, proved. An error says why it is not there.
    pub(crate) async fn fill(self: &Arc<Self>, item: &Item) -> Result<Filled, String> {
        let answer = match self.obtain(item.clone()).await {
            Obtained::Whole(answer, _) => answer,
            Obtained::Growing(following) => {
                let ended = following.flight.ended().await;
                ended.map_err(|failure| failure.text())?
            }
            Obtained::Failed(failure) => return Err(failure.text()),
        };
        if answer.status != StatusCode::OK {
            let text = answer.text().unwrap_or_default();
            let text = String::from_utf8_lossy(&text);
            let line = text.lines().next().unwrap_or_default();
            return Err(format!("{}: {line}", answer.status));
        }
        if item.life() == Life::Immutable
            && item.kind() != Kind::Tile
            && !self.truth.accepts(item, &answer.proof)
        {
            return Err("it came, but nobody could vouch for it: it is not kept".into());
        }
        Ok(Filled { answer })
    }
}

impl Filled {
    /// Its bytes.
    pub(crate) fn bytes(&self) -> u64 {
        self.answer.bytes()
    }

    /// A text.
    pub(crate) fn text(&self) -> Result<bytes::Bytes, String> {
        self.answer.text().map_err(|error| error.to_string())
    }

    /// Its hash as go.sum has it, of a go.mod file or a zip. Reads all of it.
    pub(crate) fn h1(&self, item: &Item) -> Result<String, String> {
        if item.kind() == Kind::Mod {
            return Ok(go_mod_h1(&self.text()?));
        }
        let (module, version) = (item.module(), item.version());
        let bytes = self.bytes();
        match &self.answer.content {
            Content::Bytes(body) => {
                let zip = ModuleZip::open(&body[..], bytes, module, version);
                zip.and_then(|zip| zip.h1())
                    .map_err(|fault| fault.to_string())
            }
            Content::File(file, _) => {
                let file = file.try_clone().map_err(|error| error.to_string())?;
                let file = rawzip::FileReader::from(file);
                let zip = ModuleZip::open(file, bytes, module, version);
                zip.and_then(|zip| zip.h1())
                    .map_err(|fault| fault.to_string())
            }
        }
    }
}
