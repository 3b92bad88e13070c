//! The outside of a namespace: where the process inside reports, and the sockets that it hands over.

use std::ffi::OsString;
use std::io;
use std::net::{TcpListener as StdListener, UdpSocket as StdUdpSocket};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use tokio::io::{AsyncWriteExt as _, Interest};
use tokio::net::{TcpListener, UdpSocket, UnixListener, UnixStream};

use super::handover::{GO, MAPPED, NOT_MAPPED, Report, receive};
use super::refusal::{AdmitError, Refusal, Step};
use super::server::Sockets;
use super::{Inside, Served, links, rules, users};
use crate::netlink::Netlink;
use crate::recording::format::Packets;

/// Where the process inside reports.
#[derive(Debug)]
pub(crate) struct Gate {
    listener: UnixListener,
    path: PathBuf,
}

/// A namespace with a process that waits in it.
#[derive(Debug)]
pub(crate) struct Namespace {
    stream: UnixStream,
    links: Netlink,
    filter: Netlink,
    can_leave: bool,
}

impl Gate {
    /// Listens in `folder`, which must be private.
    pub(crate) fn open(folder: &Path) -> io::Result<Self> {
        let path = folder.join("netns");
        let listener = UnixListener::bind(&path)?;
        Ok(Self { listener, path })
    }

    /// The words that run a command in a namespace: this program, with its verb for that.
    pub(crate) fn words(
        &self,
        inside: Inside,
        command: Vec<OsString>,
    ) -> io::Result<Vec<OsString>> {
        let inside = serde_json::to_string(&Inside {
            maps_all_users: users::may_map_all(),
            ..inside
        })?;
        let own = ["/proc/self/exe", "enter"].map(OsString::from);
        let own = own
            .into_iter()
            .chain([self.path.clone().into(), inside.into(), "--".into()]);
        Ok(own.chain(command).collect())
    }

    /// Waits until the namespace stands.
    pub(crate) async fn admit(self) -> Result<(Namespace, Served), AdmitError> {
        let accepted = self.listener.accept().await;
        let (mut stream, _) = accepted.map_err(AdmitError::NoReport)?;
        let mut received = hear(&stream).await.map_err(AdmitError::NoReport)?;
        if let Some((Report::Unmapped(process), _)) = received {
            map_all_users(process, &mut stream).await?;
            received = hear(&stream).await.map_err(AdmitError::NoReport)?;
        }
        let (sockets, can_leave) = match received {
            Some((Report::Ready { can_leave }, sockets)) => (sockets, can_leave),
            Some((Report::Refused(refusal), _)) => return Err(AdmitError::Refused(refusal)),
            Some((Report::Unmapped(_) | Report::NotExecuted(_), _)) | None => {
                return Err(no_report());
            }
        };
        let mut sockets = sockets.into_iter();
        let mut next = || sockets.next().ok_or_else(no_report);
        let mut served = Served {
            listeners: Vec::new(),
            names: Vec::new(),
        };
        let family = [next()?, next()?, next()?];
        served.add(family).map_err(AdmitError::NoReport)?;
        let namespace = Namespace {
            stream,
            links: Netlink::from(next()?),
            filter: Netlink::from(next()?),
            can_leave,
        };
        if let Ok(first) = next() {
            let family = [first, next()?, next()?];
            served.add(family).map_err(AdmitError::NoReport)?;
        }
        Ok((namespace, served))
    }
}

async fn hear(stream: &UnixStream) -> io::Result<Option<(Report, Vec<OwnedFd>)>> {
    stream
        .async_io(Interest::READABLE, || receive(stream))
        .await
}

/// Maps all users into the namespace of this process, which is at the other end, and tells it.
async fn map_all_users(process: u32, stream: &mut UnixStream) -> Result<(), AdmitError> {
    let mapped = users::map_all(process);
    let word = if mapped.is_ok() { MAPPED } else { NOT_MAPPED };
    let told = stream.write_all(&[word]).await;
    mapped.map_err(|error| AdmitError::Refused(Refusal::of(Step::Map, &error)))?;
    told.map_err(AdmitError::NoReport)
}

fn no_report() -> AdmitError {
    AdmitError::NoReport(io::ErrorKind::UnexpectedEof.into())
}

impl Served {
    fn add(&mut self, [listener, udp, tcp]: [OwnedFd; 3]) -> io::Result<()> {
        let listen = |listener: OwnedFd| {
            let listener = StdListener::from(listener);
            listener.set_nonblocking(true)?;
            TcpListener::from_std(listener)
        };
        self.listeners.push(listen(listener)?);
        let udp = StdUdpSocket::from(udp);
        udp.set_nonblocking(true)?;
        self.names.push(Sockets {
            udp: UdpSocket::from_std(udp)?,
            tcp: listen(tcp)?,
        });
        Ok(())
    }
}

impl Namespace {
    /// Lets the process inside execute the command, and returns once it has.
    pub(crate) async fn start(&mut self) -> Result<(), AdmitError> {
        let told = self.stream.write_all(&[GO]).await;
        told.map_err(AdmitError::NoReport)?;
        match hear(&self.stream).await {
            Ok(None) => Ok(()),
            Ok(Some((Report::NotExecuted(errno), _))) => {
                let error = io::Error::from_raw_os_error(errno);
                Err(AdmitError::NotExecuted(error))
            }
            Ok(Some(_)) => Err(no_report()),
            Err(error) => Err(AdmitError::NoReport(error)),
        }
    }

    /// What became of the packets so far; those that left are counted at every interface that could have
    /// let one out.
    pub(crate) fn packets(&self) -> io::Result<Packets> {
        let left = links::packets_left(&self.links)?;
        Ok(Packets {
            left,
            can_leave: self.can_leave,
            ..rules::blocked(&self.filter)?
        })
    }
}
