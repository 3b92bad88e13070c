//! The DNS server of a namespace, over UDP and TCP.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::addresses::Names;
use super::dns::{self, Asked, Known, Reply};
use super::lookups::PATIENCE;

/// How many queries over UDP wait for a lookup at once; the next are told that it failed.
const AT_ONCE: usize = 256;

/// How many clients over TCP are served at once; the others wait in the socket.
const CLIENTS: usize = 16;

/// The longest query, bytes: a name has at most 255, and options are small.
const LONGEST: usize = 4096;

/// How long a client over TCP may be silent.
const IDLE: Duration = Duration::from_secs(10);

/// How long an error of a socket lasts at least.
const BACK_OFF: Duration = Duration::from_millis(50);

/// What becomes of a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Lookup {
    /// It has addresses of these families.
    Found { v4: bool, v6: bool },
    /// It leads to loopback, which is the command's own.
    Loopback(Known),
    /// There is no such name.
    NotFound,
    /// Nobody could say.
    Failed,
}

/// A lookup that is under way.
pub(crate) type LookingUp = Pin<Box<dyn Future<Output = Lookup> + Send>>;

/// Says what becomes of a name: a recorder asks the system, a replay its recording.
pub(crate) trait Resolve: Send + Sync {
    /// The name is in lower case, without the last dot, and a valid host.
    fn look_up(&self, name: String) -> LookingUp;
}

/// The sockets of one family that queries come to.
#[derive(Debug)]
pub(crate) struct Sockets {
    pub(super) udp: UdpSocket,
    pub(super) tcp: TcpListener,
}

/// What is served for a namespace: of each family, where TCP arrives and where names are asked for.
#[derive(Debug)]
pub(crate) struct Served {
    pub(crate) listeners: Vec<TcpListener>,
    pub(crate) names: Vec<Sockets>,
}

/// Answers queries.
pub(crate) struct Server {
    pub(crate) names: Arc<Names>,
    pub(crate) resolver: Arc<dyn Resolve>,
}

impl Server {
    pub(crate) fn new(names: Arc<Names>, resolver: Arc<dyn Resolve>) -> Arc<Self> {
        Arc::new(Self { names, resolver })
    }

    /// Serves until it is dropped.
    pub(crate) async fn run(self: Arc<Self>, sockets: Sockets) {
        let Sockets { udp, tcp } = sockets;
        let over_udp = Arc::clone(&self).over_udp(Arc::new(udp));
        tokio::join!(over_udp, self.over_tcp(tcp));
    }

    async fn over_udp(self: Arc<Self>, socket: Arc<UdpSocket>) {
        let (places, mut tasks) = (Arc::new(Semaphore::new(AT_ONCE)), JoinSet::new());
        let mut buffer = vec![0; LONGEST];
        loop {
            while tasks.try_join_next().is_some() {}
            // An error is that of an earlier answer: its client is gone.
            let Ok((read, client)) = socket.recv_from(&mut buffer).await else {
                tokio::time::sleep(BACK_OFF).await;
                continue;
            };
            let (server, socket) = (Arc::clone(&self), Arc::clone(&socket));
            let query = buffer[..read].to_vec();
            let mut answering = Box::pin(async move { server.answer(&query).await });
            // What is known waits for no lookup of another name.
            let known = tokio::select! {
                biased;
                answer = &mut answering => Some(answer),
                () = std::future::ready(()) => None,
            };
            let answer = match (known, Arc::clone(&places).try_acquire_owned()) {
                (Some(answer), _) => answer,
                (None, Err(_)) => failed(&buffer[..read]),
                (None, Ok(place)) => {
                    tasks.spawn(async move {
                        if let Some(answer) = answering.await {
                            // The client may be gone already.
                            let _ = socket.send_to(&answer, client).await;
                        }
                        drop(place);
                    });
                    continue;
                }
            };
            if let Some(answer) = answer {
                let _ = socket.send_to(&answer, client).await;
            }
        }
    }

    async fn over_tcp(self: Arc<Self>, listener: TcpListener) {
        let (places, mut tasks) = (Arc::new(Semaphore::new(CLIENTS)), JoinSet::new());
        loop {
            while tasks.try_join_next().is_some() {}
            let Ok(place) = Arc::clone(&places).acquire_owned().await else {
                return;
            };
            let Ok((stream, _)) = listener.accept().await else {
                tokio::time::sleep(BACK_OFF).await;
                continue;
            };
            let server = Arc::clone(&self);
            tasks.spawn(async move {
                // A client that breaks off has its answers.
                let _ = server.converse(stream).await;
                drop(place);
            });
        }
    }

    /// Answers the queries of one connection, each behind its length (RFC 1035 section 4.2.2).
    async fn converse(&self, mut stream: TcpStream) -> io::Result<()> {
        loop {
            let length = tokio::time::timeout(IDLE, stream.read_u16()).await??;
            let mut query = vec![0; usize::from(length)];
            tokio::time::timeout(IDLE, stream.read_exact(&mut query)).await??;
            let Some(answer) = self.answer(&query).await else {
                return Ok(());
            };
            let mut bytes = u16::try_from(answer.len())
                .unwrap_or(u16::MAX)
                .to_be_bytes()
                .to_vec();
            bytes.extend(answer);
            tokio::time::timeout(IDLE, stream.write_all(&bytes)).await??;
        }
    }

    async fn answer(&self, bytes: &[u8]) -> Option<Vec<u8>> {
        let query = match dns::read(bytes) {
            Ok(query) => query,
            Err(answer) => return answer,
        };
        let reply = match query.asked {
            Asked::NameOf(address) => match self.names.name(address) {
                Some(name) => Reply::Name(name.as_ref().to_owned()),
                None => Reply::NoSuchName,
            },
            Asked::V4 | Asked::V6 | Asked::Other => self.reply(&query.name).await,
        };
        query.answer(&reply)
    }

    async fn reply(&self, name: &str) -> Reply {
        let looking_up = self.resolver.look_up(name.to_owned());
        let found = tokio::time::timeout(PATIENCE, looking_up).await;
        match found.unwrap_or(Lookup::Failed) {
            Lookup::Found { v4, v6 } => match self.names.addresses(name) {
                Some(addresses) => Reply::Known(Known {
                    v4: v4.then_some(addresses.v4),
                    v6: v6.then_some(addresses.v6),
                }),
                None => Reply::Failed,
            },
            Lookup::Loopback(known) => Reply::Known(known),
            Lookup::NotFound => Reply::NoSuchName,
            Lookup::Failed => Reply::Failed,
        }
    }
}

/// The answer to a query that there is no room for.
fn failed(bytes: &[u8]) -> Option<Vec<u8>> {
    match dns::read(bytes) {
        Ok(query) => query.answer(&Reply::Failed),
        Err(answer) => answer,
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use simple_dns::{CLASS, Name, Packet, Question, RCODE, TYPE};

    use super::*;

    /// Knows one name, and fails for another.
    struct One;

    impl Resolve for One {
        fn look_up(&self, name: String) -> LookingUp {
            if name.starts_with("silent") {
                return Box::pin(std::future::pending());
            }
            Box::pin(std::future::ready(match &*name {
                "proxy.golang.org" => Lookup::Found { v4: true, v6: true },
                "local.example" => Lookup::Loopback(Known {
                    v4: Some(Ipv4Addr::LOCALHOST),
                    v6: None,
                }),
                "broken.example" => Lookup::Failed,
                _ => Lookup::NotFound,
            }))
        }
    }

    fn query(name: &str) -> Vec<u8> {
        let mut packet = Packet::new_query(9);
        let name = Name::new_unchecked(name);
        let question = Question::new(name, TYPE::A.into(), CLASS::IN.into(), false);
        packet.questions.push(question);
        packet.build_bytes_vec().unwrap()
    }

    async fn sockets() -> Sockets {
        Sockets {
            udp: UdpSocket::bind("127.0.0.1:0").await.unwrap(),
            tcp: TcpListener::bind("127.0.0.1:0").await.unwrap(),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_name_that_nobody_answers_for_fails_in_time_and_holds_up_no_other() {
        let sockets = sockets().await;
        let place = sockets.udp.local_addr().unwrap();
        let server = Server::new(Arc::default(), Arc::new(One));
        let mut serving = JoinSet::new();
        serving.spawn(Arc::clone(&server).run(sockets));
        let mut waiting = Vec::new();
        let ask = async |name: &str| {
            let client = UdpSocket::bind("127.0.0.1:0").await.unwrap();
            client.send_to(&query(name), place).await.unwrap();
            client
        };
        let code = async |client: &UdpSocket| {
            let mut answer = vec![0; 512];
            let (read, _) = client.recv_from(&mut answer).await.unwrap();
            Packet::parse(&answer[..read]).unwrap().rcode()
        };
        for n in 0..AT_ONCE {
            waiting.push(ask(&format!("silent{n}.example")).await);
        }
        // In the order of the socket's queue.
        let one_too_many = ask("silent.example").await;
        assert_eq!(code(&one_too_many).await, RCODE::ServerFailure);
        assert_eq!(code(&ask("proxy.golang.org").await).await, RCODE::NoError);
        for client in &waiting {
            assert_eq!(code(client).await, RCODE::ServerFailure);
        }
    }

    #[tokio::test]
    async fn both_transports_give_the_same_answers() {
        let sockets = sockets().await;
        let places = (
            sockets.udp.local_addr().unwrap(),
            sockets.tcp.local_addr().unwrap(),
        );
        let server = Server::new(Arc::default(), Arc::new(One));
        let mut serving = JoinSet::new();
        serving.spawn(Arc::clone(&server).run(sockets));
        let udp = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let mut tcp = TcpStream::connect(places.1).await.unwrap();
        for (name, code, address) in [
            ("proxy.golang.org", RCODE::NoError, "198.18.0.1"),
            ("local.example", RCODE::NoError, "127.0.0.1"),
            ("broken.example", RCODE::ServerFailure, ""),
            ("nowhere.example", RCODE::NameError, ""),
        ] {
            let query = query(name);
            udp.send_to(&query, places.0).await.unwrap();
            let mut answer = vec![0; 512];
            let (read, _) = udp.recv_from(&mut answer).await.unwrap();
            answer.truncate(read);
            let mut framed = u16::try_from(query.len()).unwrap().to_be_bytes().to_vec();
            framed.extend(&query);
            tcp.write_all(&framed).await.unwrap();
            let mut same = vec![0; usize::from(tcp.read_u16().await.unwrap())];
            tcp.read_exact(&mut same).await.unwrap();
            assert_eq!(answer, same, "{name}");
            let packet = Packet::parse(&answer).unwrap();
            assert_eq!(packet.rcode(), code, "{name}");
            let found = packet.answers.first().map(|record| match &record.rdata {
                simple_dns::rdata::RData::A(a) => Ipv4Addr::from_bits(a.address).to_string(),
                other => format!("{other:?}"),
            });
            assert_eq!(found.unwrap_or_default(), address, "{name}");
        }
        assert_eq!(
            server
                .names
                .name(Ipv4Addr::new(198, 18, 0, 1).into())
                .as_deref(),
            Some("proxy.golang.org")
        );
    }
}
