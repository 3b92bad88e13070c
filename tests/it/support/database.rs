//! A checksum database of made-up records, whose key the tests hold (`golang.org/x/mod/sumdb`, `note`
//! and `tlog`).

use std::sync::Arc;

use aws_lc_rs::digest;
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use modtape::gomod::Tile;
use modtape::sumdb::{Hash, Seen, tiles_exact};

use super::corpus::Content;

/// A log, and the key that signs its heads.
pub struct Database {
    name: &'static str,
    key: Arc<Ed25519KeyPair>,
    records: Vec<String>,
}

impl Database {
    /// A database of that name with these records, each some lines of a go.sum.
    pub fn new(name: &'static str, records: Vec<String>) -> Self {
        let key = Ed25519KeyPair::generate().expect("a key can be made");
        let key = Arc::new(key);
        Self { name, key, records }
    }

    /// The same with another key under its name.
    pub fn with_another_key(&self) -> Self {
        Self::new(self.name, self.records.clone())
    }

    /// Another log under the same name, signed by the same key.
    pub fn forked(&self, records: Vec<String>) -> Self {
        let (name, key) = (self.name, Arc::clone(&self.key));
        Self { name, key, records }
    }

    /// Ed25519 is algorithm 1.
    fn public_key(&self) -> Vec<u8> {
        [&[1], self.key.public_key().as_ref()].concat()
    }

    fn key_hash(&self) -> Vec<u8> {
        let named = [self.name.as_bytes(), b"\n", &self.public_key()].concat();
        digest::digest(&digest::SHA256, &named).as_ref()[..4].to_vec()
    }

    /// The verifier's key, for GOSUMDB.
    pub fn verifier_key(&self) -> String {
        let hash = self.key_hash();
        let hash: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
        let key = BASE64_STANDARD.encode(self.public_key());
        format!("{}+{hash}+{key}", self.name)
    }

    /// The hash of the subtree of so many records from `start` (RFC 6962, section 2.1).
    fn root(&self, start: usize, size: usize) -> Hash {
        match size {
            0 => Hash::of_nothing(),
            1 => Hash::of_record(&self.records[start]),
            _ => {
                let left = size.next_power_of_two() / 2;
                let right = self.root(start + left, size - left);
                Hash::of_pair(self.root(start, left), right)
            }
        }
    }

    /// The signed head of the tree of the first `size` records.
    pub fn head(&self, size: usize) -> String {
        let tree = format!("go.sum database tree\n{size}\n{}\n", self.root(0, size));
        let signature = self.key.sign(tree.as_bytes());
        let signed = [&self.key_hash()[..], signature.as_ref()].concat();
        let signed = BASE64_STANDARD.encode(signed);
        format!("{tree}\n\u{2014} {} {signed}\n", self.name)
    }

    /// The answer to a lookup of the record with this number, with the head of the first `size` records.
    pub fn lookup(&self, id: usize, size: usize) -> String {
        format!("{id}\n{}\n{}", self.records[id], self.head(size))
    }

    /// The body of a tile.
    pub fn tile(&self, tile: &Tile) -> Vec<u8> {
        let subtree = 1_usize << (8 * tile.level);
        let first = usize::try_from(tile.index << 8).expect("a small log");
        let hashes =
            (first..first + usize::from(tile.width)).map(|at| self.root(at * subtree, subtree));
        hashes.flat_map(|hash| *hash.as_bytes()).collect()
    }

    /// Adds the database to what is served under its name: the lookups of these paths, each a record's number and
    /// the size of the tree that its head is of, and every tile that a client can ask for.
    pub fn serve(&self, content: Content, lookups: &[(&str, usize, usize)]) -> Content {
        let text = "text/plain; charset=UTF-8";
        let seen = Seen {
            lookups: lookups
                .iter()
                .map(|(_, id, size)| (*id as u64, *size as u64))
                .collect(),
            heads: Vec::new(),
        };
        let content = tiles_exact(&seen).iter().fold(content, |content, tile| {
            let kind = "application/octet-stream";
            content.and_file(self.name, &format!("/{tile}"), 200, kind, self.tile(tile))
        });
        lookups.iter().fold(content, |content, (path, id, size)| {
            let path = format!("/lookup/{path}");
            content.and_file(self.name, &path, 200, text, self.lookup(*id, *size))
        })
    }
}
