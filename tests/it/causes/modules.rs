//! Modules that a scenario makes up.

use rawzip::CompressionMethod;

use super::world::{INTERNET, World};
use crate::support::*;

/// The proxy that has them.
pub(super) const HOST: &str = "proxy.golang.org";

/// A module in a version.
pub(super) struct Module<'a> {
    pub(super) path: &'a str,
    pub(super) version: &'a str,
    pub(super) go_mod: &'a str,
}

impl Module<'_> {
    /// What a proxy that has it answers, without a zip.
    pub(super) fn served(&self, content: Content) -> Content {
        let Self {
            version, go_mod, ..
        } = self;
        let info = format!("{{\"Version\":\"{version}\",\"Time\":\"2020-01-01T00:00:00Z\"}}");
        let content = content.and_file(HOST, &self.file("info"), 200, "application/json", info);
        let go_mod = (*go_mod).to_owned();
        content.and_file(HOST, &self.file("mod"), 200, "text/plain", go_mod)
    }

    /// The same with a zip of these files beside its go.mod.
    pub(super) fn zipped(&self, content: Content, files: &[(String, Vec<u8>)]) -> Content {
        let Self {
            path,
            version,
            go_mod,
        } = self;
        let go_mod = ("go.mod".to_owned(), go_mod.as_bytes().to_vec());
        let files = files.iter().chain([&go_mod]);
        let files: Vec<(String, &[u8])> = files
            .map(|(name, content)| (format!("{path}@{version}/{name}"), &content[..]))
            .collect();
        let files: Vec<(&str, &[u8])> = files
            .iter()
            .map(|(name, content)| (&**name, *content))
            .collect();
        let zip = zip(&files, CompressionMethod::STORE);
        let content = self.served(content);
        content.and_file(HOST, &self.file("zip"), 200, "application/zip", zip)
    }

    /// The path of one of its files.
    pub(super) fn file(&self, kind: &str) -> String {
        format!("/{}/@v/{}.{kind}", self.path, self.version)
    }
}

/// The versions of a module that a proxy lists.
pub(super) fn listed(content: Content, path: &str, versions: &str) -> Content {
    let versions = versions.to_owned();
    content.and_file(
        HOST,
        &format!("/{path}/@v/list"),
        200,
        "text/plain",
        versions,
    )
}

/// A proxy that has these, and nothing else.
pub(super) fn serving(world: &World, content: Content) -> OriginBuilder {
    world.server(INTERNET, content)
}

/// Bytes that do not compress, and of which no part is like another.
pub(super) fn noise(len: u32) -> Vec<u8> {
    let mix = |n: u32| n.wrapping_mul(2_654_435_761) >> 24;
    (0..len).map(|n| mix(n) as u8).collect()
}
