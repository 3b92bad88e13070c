//! Whom clients reach through modtape, and who may be a client: no open proxy, no way into the
//! machine or its network, no way back to ourselves.

mod loops;
mod remote_clients;
mod spellings;
mod token;
mod tunnels;

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::support::{Client, Output};

/// A token for tests that want to know it.
const TOKEN: &str = "test-token-0123456789abcdef";

/// `Basic` of `modtape:` and [`TOKEN`].
const SHOWN: (&str, &str) = (
    "Proxy-Authorization",
    "Basic bW9kdGFwZTp0ZXN0LXRva2VuLTAxMjM0NTY3ODlhYmNkZWY=",
);

/// Listens at an address and counts who comes; answers each with a 200.
struct Canary {
    addr: SocketAddr,
    visits: Arc<AtomicUsize>,
}

impl Canary {
    fn at(addr: &str) -> Self {
        let listener = TcpListener::bind(addr).expect("the address is free");
        let addr = listener.local_addr().expect("it is bound");
        let visits = Arc::<AtomicUsize>::default();
        let count = Arc::clone(&visits);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                count.fetch_add(1, Ordering::SeqCst);
                std::thread::spawn(move || {
                    let mut stream = stream;
                    // Its client may say what it likes, and leave when it likes.
                    let _ = stream.read(&mut [0; 4096]);
                    let _ = stream.write_all(CANARY);
                });
            }
        });
        Self { addr, visits }
    }

    fn visits(&self) -> usize {
        self.visits.load(Ordering::SeqCst)
    }
}

const CANARY: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 6\r\nconnection: close\r\n\r\ncanary";

/// Sends a head as it is, and gives all that comes back; empty if the proxy just closes.
async fn raw(proxy: SocketAddr, head: &str) -> String {
    let mut client = Client::open(proxy).await;
    client.send(head).await.expect("the proxy takes a head");
    let (answer, _) = client.read_to_end().await;
    String::from_utf8_lossy(&answer).into_owned()
}

/// The status code of an answer; 0 without one.
fn status(answer: &str) -> u16 {
    let code = answer.split(' ').nth(1);
    code.and_then(|code| code.parse().ok()).unwrap_or(0)
}

/// Panics if the command's output or any file below the folder holds `secret`.
#[track_caller]
pub(crate) fn assert_nowhere(secret: &str, folder: &std::path::Path, output: &Output) {
    assert!(!output.stderr.contains(secret), "{}", output.stderr);
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).expect("our own folder").flatten() {
            let path = entry.path();
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                folders.push(path);
            } else if let Ok(bytes) = std::fs::read(&path) {
                let holds = bytes.windows(secret.len()).any(|w| w == secret.as_bytes());
                assert!(!holds, "{} holds the token", path.display());
            }
        }
    }
}
