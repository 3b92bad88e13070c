//! A gateway that a test's own clients ask, at once and as slowly as the test likes.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;

use super::front::{command, get};
use super::*;
use crate::record::recording;

/// A gateway at work.
pub(super) struct Asking {
    sandbox: Sandbox,
    running: Spawned,
    address: String,
}

impl Asking {
    /// To the entries of [`command`], without a token; `prepare` changes the command line.
    pub(super) fn start(origin: &Origin, prepare: impl FnOnce(&mut Command)) -> Self {
        let sandbox = Sandbox::new();
        let mut record = command(&sandbox, origin, &["--token", "none"]);
        prepare(&mut record);
        record.args([
            "--",
            "sh",
            "-c",
            "echo \"#$GOPROXY#ready\"; exec cat >/dev/null",
        ]);
        let running = Spawned::start(record);
        let told = running.wait_for_stdout("#ready");
        let address = told.split('/').nth(2).expect("a URL has a host").to_owned();
        Self {
            sandbox,
            running,
            address,
        }
    }

    /// A client on a connection of its own.
    pub(super) fn client(&self) -> Asked {
        let stream = TcpStream::connect(&self.address).expect("it listens");
        stream
            .set_read_timeout(Some(LIMIT))
            .expect("a socket can be set");
        Asked(BufReader::new(stream))
    }

    /// A client that asks for one path, and for nothing more.
    pub(super) fn ask(&self, path: &str) -> Asked {
        let mut client = self.client();
        client.send(&get(path, &self.address));
        client
    }

    /// What is answered to one request.
    pub(super) fn answer(&self, path: &str) -> (u16, String) {
        self.ask(path).answer()
    }

    /// Blocks until it has said this on stderr.
    pub(super) fn wait_for_stderr(&self, text: &str) {
        self.running.wait_for_stderr(text);
    }

    /// What another modtape says about it.
    pub(super) fn modtape(&self, args: &[&str]) -> String {
        let modtape = self.sandbox.modtape(args.iter().copied());
        run(modtape, LIMIT).expect_success().stdout
    }

    /// Ends its command, and opens what it recorded.
    pub(super) fn end(self) -> (Recording, Output) {
        let output = self.running.end().expect_success();
        (recording(&self.sandbox, "one"), output)
    }
}

/// A client's connection.
pub(super) struct Asked(BufReader<TcpStream>);

impl Asked {
    /// Sends this.
    pub(super) fn send(&mut self, text: &str) {
        let stream = self.0.get_mut();
        stream.write_all(text.as_bytes()).expect("it reads");
    }

    /// Asks for a path on a connection that stays.
    pub(super) fn get(&mut self, path: &str) -> (u16, String) {
        let address = self.0.get_ref().peer_addr().expect("it is connected");
        self.send(&format!("GET {path} HTTP/1.1\r\nHost: {address}\r\n\r\n"));
        let (status, fields) = self.head();
        let length = fields.iter().find_map(|line| {
            let (name, value) = line.split_once(':')?;
            let is_length = name.eq_ignore_ascii_case("content-length");
            value.trim().parse().ok().filter(|_| is_length)
        });
        let mut body = vec![0; length.expect("its length is known")];
        self.0.read_exact(&mut body).expect("it sends all");
        (status, String::from_utf8_lossy(&body).into_owned())
    }

    /// The status and the fields of the next response.
    pub(super) fn head(&mut self) -> (u16, Vec<String>) {
        let lines = self.0.by_ref().lines();
        let lines = lines.map(|line| line.expect("it sends a head"));
        let mut lines = lines.take_while(|line| !line.is_empty());
        let first = lines.next().expect("it answers");
        let status = first.split(' ').nth(1).and_then(|code| code.parse().ok());
        (status.expect("a status"), lines.collect())
    }

    /// The status and the body of the last response.
    pub(super) fn answer(mut self) -> (u16, String) {
        let (status, _) = self.head();
        let mut body = Vec::new();
        self.0.read_to_end(&mut body).expect("it sends all");
        (status, String::from_utf8_lossy(&body).into_owned())
    }
}
