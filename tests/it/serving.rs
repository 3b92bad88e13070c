//! `modtape serve`: what clients get, what the origin is asked, and what is kept.

mod answers;
mod builds;
mod cache;
mod caching;
mod from;
pub(crate) mod metrics;
mod operating;
mod private;
mod purges;
mod replicas;
mod repositories;
mod running;
pub(crate) mod store;
mod trials;
mod zips;

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::process::Command;

use rustix::process::Signal;

use crate::support::*;

/// A module proxy that runs, and where it keeps what it has.
pub(crate) struct Serving {
    pub(crate) modtape: Spawned,
    pub(crate) address: SocketAddr,
}

/// What it answered.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    head: String,
    body: Vec<u8>,
    /// Whether the body has as many bytes as its head says.
    is_whole: bool,
}

impl Serving {
    /// Starts one whose upstream is the list `goproxy`, all of whose hosts are `origin`.
    pub(crate) fn start(sandbox: &Sandbox, origin: &Origin, goproxy: &str, flags: &[&str]) -> Self {
        Self::told(Spawned::start(Self::command(
            sandbox, origin, goproxy, flags,
        )))
    }

    /// The command that does.
    fn command(sandbox: &Sandbox, origin: &Origin, goproxy: &str, flags: &[&str]) -> Command {
        let everywhere = format!("::127.0.0.1:{}", origin.addr().port());
        let mut command = sandbox.modtape(["serve", "--listen", "127.0.0.1:0", "--store", "store"]);
        command.args(["--connect-to", &everywhere, "--upstream", goproxy]);
        command.arg("--upstream-ca").arg(origin.root_pem_path());
        command.args(flags).current_dir(sandbox.path());
        command
    }

    /// One that says where it listens.
    fn told(modtape: Spawned) -> Self {
        let told = modtape.wait_for_stderr("   (undo: ");
        let (_, rest) = told.split_once("GOPROXY=http").expect("it is told");
        let (_, rest) = rest.split_once("://").expect("a URL");
        let end = rest.find(|c: char| !(c.is_ascii_digit() || ".:".contains(c)));
        let address = rest[..end.unwrap_or(rest.len())].parse();
        Self {
            modtape,
            address: address.expect("an address"),
        }
    }

    fn get(&self, path: &str) -> Answer {
        get(self.address, path)
    }

    /// Ends it, and gives what it said.
    pub(crate) fn end(self) -> Output {
        self.modtape.signal(Signal::TERM);
        self.modtape.end()
    }
}

/// Asks for a path over a connection of its own.
fn get(address: SocketAddr, path: &str) -> Answer {
    ask(address, "GET", path, "")
}

/// The same, by any method and with further fields, each with its line end.
pub(crate) fn ask(address: SocketAddr, method: &str, path: &str, fields: &str) -> Answer {
    let mut stream = TcpStream::connect(address).expect("it listens");
    let head =
        format!("{method} {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n{fields}\r\n");
    stream.write_all(head.as_bytes()).expect("it reads");
    read_answer(stream)
}

/// Reads a response up to the end of its connection.
fn read_answer(mut stream: TcpStream) -> Answer {
    let mut answer = Vec::new();
    // A reset is an answer that is not whole.
    let is_read = stream.read_to_end(&mut answer).is_ok();
    let end = answer.windows(4).position(|bytes| bytes == b"\r\n\r\n");
    let body = end.map_or(answer.len(), |end| end + 4);
    let head = String::from_utf8_lossy(&answer[..body]).to_lowercase();
    let status = head.split(' ').nth(1).and_then(|code| code.parse().ok());
    let body = answer.split_off(body);
    let length = field(&head, "content-length").and_then(|length| length.parse().ok());
    Answer {
        status: status.unwrap_or(0),
        is_whole: is_read && length == Some(body.len()),
        head,
        body,
    }
}

fn field<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    let mut lines = head.lines();
    lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
}

impl Answer {
    /// Which tier it came from.
    fn tier(&self) -> &str {
        field(&self.head, "x-modtape-cache").unwrap_or("none")
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// How often the origin was asked for a path.
fn asked(origin: &Origin, path: &str) -> usize {
    let paths = origin.paths();
    paths.iter().filter(|asked| *asked == path).count()
}
