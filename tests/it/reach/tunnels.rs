//! Inside a tunnel: only the host that it leads to answers, and only listed hosts are opened.

use http::Request;

use super::super::support::{Alpn, Client, Content, Hello, Origin, Recorder, Rule};

#[tokio::test]
async fn a_foreign_authority_inside_a_tunnel_is_misdirected() {
    let origin = Origin::builder(Content::default())
        .rule(Rule::any().status(200).body("x"))
        .start();
    let recorder = Recorder::to(&origin, &[]);
    let mut wrong = Vec::new();
    let mut own = 0;
    for alpn in [Alpn::Http1, Alpn::Http2] {
        for (named, expected) in [
            ("proxy.golang.org", 200),
            ("proxy.golang.org:443", 200),
            ("PROXY.golang.org", 200),
            ("sum.golang.org", 421),
            ("proxy.golang.org:444", 421),
            ("proxy.golang.org.evil.example", 421),
            ("127.0.0.1", 421),
            ("localhost", 421),
        ] {
            let hello = recorder.hello("proxy.golang.org").alpn(alpn);
            let mut session = Client::session(recorder.proxy(), &hello).await;
            let request = match alpn {
                Alpn::Http1 => Request::get("/x").header("host", named),
                _ => Request::get(format!("https://{named}/x")),
            };
            let request = request.body(Default::default()).expect("a request");
            let response = session.send(request).await.expect("an answer");
            own += usize::from(expected == 200);
            if response.status != expected {
                wrong.push(format!("{alpn:?} {named}: {}", response.status));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    recorder.finish().await;
    assert_eq!(origin.requests().len(), own);
}

#[tokio::test]
async fn an_unlisted_host_shows_its_own_certificate() {
    let origin = Origin::start(Content::default());
    let recorder = Recorder::to(&origin, &["--tunnel=go.dev"]);
    for host in ["unlisted.example", "go.dev"] {
        let client = Client::open(recorder.proxy()).await;
        let connected = client.connect(&format!("{host}:443"), &[]).await;
        let hello = Hello::new(host, origin.root_pem_path());
        let client = connected.client.handshake(&hello).await;
        let chain = client
            .expect("the origin's own root")
            .tls
            .map(|tls| tls.chain);
        assert!(chain.is_some_and(|chain| !chain.is_empty()));
        let client = Client::open(recorder.proxy()).await;
        let connected = client.connect(&format!("{host}:443"), &[]).await;
        let ours = connected.client.handshake(&recorder.hello(host)).await;
        assert!(ours.is_err(), "{host} was opened");
    }
    recorder.finish().await;
}
