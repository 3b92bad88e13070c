//! A loopback listener served by its own thread, and one that serves nobody.
//!
//! The thread owns a current-thread runtime: dropping [`Background`] stops accepting, drops every
//! connection and joins, so that no task, thread or descriptor outlives a test.

use std::future::Future;
use std::net::{Ipv4Addr, SocketAddr, TcpListener as StdListener, TcpStream as StdStream};
use std::thread::{self, JoinHandle};

use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::runtime;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// A running listener; dropped, it has ended.
pub struct Background {
    addr: SocketAddr,
    stop: CancellationToken,
    thread: Option<JoinHandle<()>>,
}

impl Background {
    /// Listens on a free loopback port and runs `serve` for each connection, in a task of its own.
    ///
    /// A panic in a task ends the listener; its message is on stderr and `drop` panics too.
    pub fn listen<F, S>(name: &str, serve: F) -> Self
    where
        F: Fn(TcpStream) -> S + Send + 'static,
        S: Future<Output = ()> + Send + 'static,
    {
        Self::listen_at((Ipv4Addr::LOCALHOST, 0).into(), name, serve)
    }

    /// The same on another of this machine's addresses.
    pub fn listen_at<F, S>(addr: SocketAddr, name: &str, serve: F) -> Self
    where
        F: Fn(TcpStream) -> S + Send + 'static,
        S: Future<Output = ()> + Send + 'static,
    {
        let listener = StdListener::bind(addr).expect("the address is ours and has a port");
        listener.set_nonblocking(true).expect("a socket can be set");
        let addr = listener
            .local_addr()
            .expect("a bound socket has an address");
        let stop = CancellationToken::new();
        let stopped = stop.clone();
        let thread = thread::Builder::new()
            .name(name.to_owned())
            .spawn(move || block_on(accept_all(listener, serve, stopped)))
            .expect("a thread can be started");
        Self {
            addr,
            stop,
            thread: Some(thread),
        }
    }

    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        self.stop.cancel();
        let ended = self.thread.take().map(JoinHandle::join);
        if matches!(ended, Some(Err(_))) && !thread::panicking() {
            panic!("a scripted server panicked, see its message above");
        }
    }
}

/// An address where TCP connections neither come up nor fail: the listen queue is full.
///
/// Linux drops the SYN when a queue is full, which is what a dead route looks like.
pub struct Blackhole {
    addr: SocketAddr,
    _listener: StdListener,
    _filler: StdStream,
}

impl Blackhole {
    /// Opens a listener on a free port with the shortest queue and fills it.
    pub fn start() -> Self {
        Self::at((Ipv4Addr::LOCALHOST, 0).into())
    }

    /// The same at an address of this machine: all of 127.0.0.0/8 is loopback.
    pub fn at(addr: SocketAddr) -> Self {
        // A thread of its own, because a test's thread may be running a runtime already.
        let listener = thread::spawn(move || new_runtime().block_on(listen_without_queue(addr)));
        let listener = listener.join().expect("loopback has a port");
        let addr = listener
            .local_addr()
            .expect("a bound socket has an address");
        // A queue of length n holds n + 1 connections (Linux, sk_acceptq_is_full).
        let filler = StdStream::connect(addr).expect("the queue holds one");
        Self {
            addr,
            _listener: listener,
            _filler: filler,
        }
    }

    /// The address that does not answer.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }
}

async fn accept_all<F, S>(listener: StdListener, serve: F, stop: CancellationToken)
where
    F: Fn(TcpStream) -> S,
    S: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::from_std(listener).expect("the listener is non-blocking");
    let mut tasks = JoinSet::new();
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            Some(ended) = tasks.join_next() => ended.expect("no task of a scripted server panics"),
            accepted = listener.accept() => {
                let (stream, _) = accepted.expect("a loopback listener accepts");
                stream.set_nodelay(true).expect("a socket can be set");
                tasks.spawn(serve(stream));
            }
        }
    }
}

async fn listen_without_queue(addr: SocketAddr) -> StdListener {
    let socket = match addr {
        SocketAddr::V4(_) => TcpSocket::new_v4(),
        SocketAddr::V6(_) => TcpSocket::new_v6(),
    };
    let socket = socket.expect("a socket");
    socket.bind(addr).expect("loopback has that port");
    let listener = socket.listen(0).expect("a bound socket can listen");
    listener.into_std().expect("it has a descriptor")
}

fn block_on(future: impl Future<Output = ()>) {
    new_runtime().block_on(future);
}

fn new_runtime() -> runtime::Runtime {
    runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime can be made")
}
