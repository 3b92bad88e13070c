//! A resolver for a network of its own: what it answers, how late, and what it is silent about.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// What is known of a name.
#[derive(Clone, Debug, Default)]
pub struct Name {
    addresses: Vec<IpAddr>,
    delay: Duration,
    is_mute_for_v6: bool,
    rcode: u8,
}

impl Name {
    /// Leads to these addresses.
    pub fn at(addresses: impl IntoIterator<Item = IpAddr>) -> Self {
        Self {
            addresses: addresses.into_iter().collect(),
            ..Self::default()
        }
    }

    /// Is answered after so long.
    pub fn delay(self, delay: Duration) -> Self {
        Self { delay, ..self }
    }

    /// Questions for its IPv6 addresses (AAAA) are not answered.
    pub fn mute_for_v6(self) -> Self {
        Self {
            is_mute_for_v6: true,
            ..self
        }
    }

    /// The resolver fails with SERVFAIL.
    pub fn fails() -> Self {
        Self {
            rcode: 2,
            ..Self::default()
        }
    }
}

/// A running resolver; dropped, it has ended. A name that it does not know does not exist.
pub struct Resolver {
    addr: SocketAddr,
    names: Arc<Mutex<HashMap<String, Name>>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Resolver {
    /// Answers questions that come to this address.
    pub fn at(addr: SocketAddr) -> Self {
        Self::on(UdpSocket::bind(addr).expect("the address is ours"), [])
    }

    /// Answers questions that come to this socket, and those that came before.
    pub fn on<const N: usize>(socket: UdpSocket, names: [(&str, Name); N]) -> Self {
        let addr = socket.local_addr().expect("it is bound");
        let names = names.map(|(name, known)| (name.to_owned(), known));
        let names = Arc::new(Mutex::new(HashMap::from(names)));
        let stop = Arc::<AtomicBool>::default();
        let (known, stopped) = (Arc::clone(&names), Arc::clone(&stop));
        let serve = move || {
            let mut question = [0; 1500];
            while let Ok((len, asker)) = socket.recv_from(&mut question) {
                if stopped.load(Ordering::Relaxed) {
                    return;
                }
                let socket = socket.try_clone().expect("a descriptor");
                answer(&known, socket, asker, question[..len].to_vec());
            }
        };
        Self {
            addr,
            names,
            stop,
            thread: Some(thread::spawn(serve)),
        }
    }

    /// Makes a name known, or another thing of it.
    pub fn set(&self, name: &str, known: Name) {
        let mut names = self.names.lock().expect("no panic while locked");
        names.insert(name.to_owned(), known);
    }
}

impl Drop for Resolver {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let wakes = || UdpSocket::bind((self.addr.ip(), 0))?.send_to(&[], self.addr);
        wakes().expect("it listens");
        let ended = self.thread.take().map(JoinHandle::join);
        assert!(
            !matches!(ended, Some(Err(_))) || thread::panicking(),
            "the resolver panicked, see its message above"
        );
    }
}

fn answer(
    names: &Mutex<HashMap<String, Name>>,
    socket: UdpSocket,
    asker: SocketAddr,
    message: Vec<u8>,
) {
    let Some(question) = Question::parse(&message) else {
        return;
    };
    let known = names.lock().expect("no panic while locked");
    let unknown = Name {
        rcode: NXDOMAIN,
        ..Name::default()
    };
    let name = known.get(&question.name).cloned().unwrap_or(unknown);
    if name.is_mute_for_v6 && question.kind == AAAA {
        return;
    }
    let reply = question.reply(&message, &name);
    let send = move || {
        thread::sleep(name.delay);
        // Whoever asked may have left.
        let _ = socket.send_to(&reply, asker);
    };
    match name.delay {
        Duration::ZERO => send(),
        _ => drop(thread::spawn(send)),
    }
}

/// The one question of a message (RFC 1035 section 4).
struct Question {
    name: String,
    kind: u16,
    end: usize,
}

const A: u16 = 1;
const AAAA: u16 = 28;
const NXDOMAIN: u8 = 3;
const HEADER: usize = 12;

impl Question {
    fn parse(message: &[u8]) -> Option<Self> {
        let (mut at, mut labels) = (HEADER, Vec::new());
        loop {
            let len = usize::from(*message.get(at)?);
            at += 1;
            if len == 0 {
                break;
            }
            let label = message.get(at..at + len)?;
            labels.push(String::from_utf8_lossy(label).to_lowercase());
            at += len;
        }
        let kind = message.get(at..at + 2)?;
        Some(Self {
            name: labels.join("."),
            kind: u16::from_be_bytes([kind[0], kind[1]]),
            end: at + 4,
        })
    }

    fn reply(&self, message: &[u8], name: &Name) -> Vec<u8> {
        let data = |address: &IpAddr| match (address, self.kind) {
            (IpAddr::V4(address), A) => Some(address.octets().to_vec()),
            (IpAddr::V6(address), AAAA) => Some(address.octets().to_vec()),
            _ => None,
        };
        let answers: Vec<_> = name.addresses.iter().filter_map(data).collect();
        let mut reply = message[..2].to_vec();
        // A response, recursion available; one question, no authority, nothing additional.
        reply.extend([0x81, 0x80 | name.rcode, 0, 1, 0, answers.len() as u8]);
        reply.extend([0; 4]);
        reply.extend_from_slice(&message[HEADER..self.end]);
        for data in answers {
            // The name of the question, class IN, a minute to live.
            reply.extend([0xc0, HEADER as u8]);
            reply.extend(self.kind.to_be_bytes());
            reply.extend([0, 1, 0, 0, 0, 60, 0, data.len() as u8]);
            reply.extend(data);
        }
        reply
    }
}
