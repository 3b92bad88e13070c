//! A small recording with whatever an exchange can be and become.

use std::fs;
use std::net::{Ipv6Addr, TcpListener};
use std::path::PathBuf;

use http::Method;
use tempfile::TempDir;

use crate::support::*;

pub(crate) const HOST: &str = "proxy.golang.org";

/// Answered on `[::1]`, where there is one.
const SIX: &str = "six.example";

/// Whose answers are written byte by byte.
const RAW: &str = "raw.example";

/// Never intercepted.
const TUNNELLED: &str = "tunnelled.example";

/// A coding that no reader of HTTP knows.
pub(crate) const UNKNOWN_CODING: &str = "x-own";

/// What was recorded, and the log of it.
pub(crate) struct Rich {
    pub(crate) recorded: Recorded,
    log: PathBuf,
    _folder: TempDir,
}

impl Rich {
    /// The log's lines of exchanges: JSON.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(&self.log).expect("it was asked for")
    }
}

/// What the origin answers, beside `/plain`.
const PATHS: [&str; 17] = [
    "/chunked", "/gzip", "/big", "/middle", "/trailer", "/short", "/nothing", "/none", "/same",
    "/empty", "/gone", "/plain", "/missing", "/huge", "/latin", "/moved", "/coded",
];

fn origin(root: &TestRoot) -> OriginBuilder {
    let content = Content::files([((HOST, "/"), (200, "text/plain", ""))]);
    let answers = |path| Rule::suffix(path).status(200);
    Origin::builder(content)
        .root(root)
        .rule(answers("/chunked").body("in chunks").chunked())
        .rule(answers("/gzip").body(vec![b'z'; 200_000]).gzip())
        .rule(answers("/big").generated(3 << 20))
        .rule(answers("/middle").generated(65_537))
        .rule(answers("/trailer").body("x").trailer("x-sum", "1"))
        .rule(answers("/short").generated(100_000).short(70_000))
        .rule(answers("/nothing").generated(100_000).short(0))
        .rule(Rule::suffix("/none").status(204).body(""))
        .rule(
            Rule::suffix("/same")
                .status(304)
                .header("content-length", "7")
                .body(""),
        )
        .rule(answers("/empty").body(""))
        .rule(Rule::suffix("/gone").reset())
        .rule(Rule::suffix("/missing").status(404).body("not found"))
        .rule(
            answers("/huge")
                .header("x-huge", vec![b'h'; 12_000])
                .body("ok"),
        )
        .rule(
            answers("/latin")
                .header("x-name", b"caf\xe9 \xff")
                .body("ok"),
        )
        .rule(Rule::suffix("/moved").redirect("/plain?token=0123456789abcdef"))
        .rule(
            answers("/coded")
                .header("content-encoding", UNKNOWN_CODING)
                .body("as it is"),
        )
        .rule(Rule::any().status(200).body("ok"))
}

/// Informational heads before the answer, and a hang-up in the middle of another.
fn raw() -> RawOrigin {
    RawOrigin::start(|head| {
        if head.starts_with(b"GET /torn ") {
            let torn = "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\ntorn";
            return vec![Step::send(torn), Step::HangUp];
        }
        vec![
            Step::send("HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n"),
            Step::send("HTTP/1.1 200 Very Fine\r\nContent-Length: 2\r\n\r\nok"),
        ]
    })
}

fn has_v6() -> bool {
    let has = TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).is_ok();
    if !has {
        skipped("there is no [::1]");
    }
    has
}

/// Records every exchange over HTTP/1.1 and over HTTP/2, each on a connection of its own and again
/// on one that was used before.
pub(crate) async fn rich() -> Rich {
    let folder = TempDir::new().expect("a temporary folder");
    let (log, roots) = (folder.path().join("log"), folder.path().join("roots.pem"));
    let (root, raw) = (TestRoot::new(), raw());
    let origin_4 = origin(&root).start();
    let origin_6 = has_v6().then(|| origin(&root).v6().start());
    let of_raw = fs::read_to_string(raw.root_pem_path()).expect("our own file");
    fs::write(&roots, root.pem().to_owned() + &of_raw).expect("our own file");
    let to = |host: &str, port: String| format!("--connect-to={host}:{port}");
    let mut flags = vec![
        to(RAW, format!("443:{}", raw.addr())),
        format!("--intercept={RAW},{SIX}"),
        format!("--tunnel={TUNNELLED}"),
        format!("--log-file={}", log.display()),
        String::from("--log-format=json"),
    ];
    let six = origin_6
        .as_ref()
        .map(|origin| to(SIX, format!("443:{}", origin.addr())));
    flags.extend(six);
    flags.push(to("", format!(":{}", origin_4.addr())));
    let flags: Vec<_> = flags.iter().map(String::as_str).collect();
    let wrapping = Wrapping {
        har: true,
        ..Wrapping::default()
    };
    let recorder = Recorder::wrapped(&roots, &flags, &wrapping);
    for alpn in [Alpn::Http1, Alpn::Http2] {
        each_alone(&recorder, alpn).await;
        on_one(&recorder, HOST, alpn).await;
        if origin_6.is_some() {
            on_one(&recorder, SIX, alpn).await;
        }
    }
    hinted(&recorder).await;
    let inner = Hello::new(TUNNELLED, origin_4.root_pem_path());
    let mut tunnelled = Client::session(recorder.proxy(), &inner).await;
    tunnelled.get("/plain").await.expect("an answer");
    drop(tunnelled);
    Rich {
        recorded: recorder.finish().await,
        log,
        _folder: folder,
    }
}

async fn session(recorder: &Recorder, host: &str, alpn: Alpn) -> Session {
    Client::session(recorder.proxy(), &recorder.hello(host).alpn(alpn)).await
}

/// Whatever becomes of one leaves the others alone.
async fn each_alone(recorder: &Recorder, alpn: Alpn) {
    for path in PATHS {
        let mut session = session(recorder, HOST, alpn).await;
        // Aborts are errors here.
        let _ = session.get(path).await;
        let mut head = session.request(path);
        *head.method_mut() = Method::HEAD;
        let _ = session.send(head).await;
    }
}

/// One connection, used again and again.
async fn on_one(recorder: &Recorder, host: &str, alpn: Alpn) {
    let mut session = session(recorder, host, alpn).await;
    for path in ["/plain", "/missing", "/gzip", "/empty"] {
        session.get(path).await.expect("an answer");
    }
    let mut post = session.request("/plain");
    *post.method_mut() = Method::POST;
    *post.body_mut() = http_body_util::Full::from("a request body");
    session.send(post).await.expect("an answer");
}

async fn hinted(recorder: &Recorder) {
    for path in ["/hinted", "/torn"] {
        let mut session = session(recorder, RAW, Alpn::Http1).await;
        let _ = session.get(path).await;
    }
}
