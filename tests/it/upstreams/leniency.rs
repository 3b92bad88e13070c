//! What go's client takes of an odd origin passes, is on record, and is replayed; what cannot pass
//! says why.

use super::*;

/// An answer of an origin over HTTP/1.1, and what becomes of it.
struct Row {
    name: &'static str,
    answer: Vec<u8>,
    /// How the connection ends behind it, if it does.
    ends: Option<Step>,
    /// Lines of the head that the client gets.
    lines: Vec<Vec<u8>>,
    body: &'static str,
    trailers: &'static str,
    note: Option<&'static str>,
}

fn row(name: &'static str, answer: impl AsRef<[u8]>, lines: &[&str]) -> Row {
    Row {
        name,
        answer: answer.as_ref().to_vec(),
        ends: None,
        lines: lines.iter().map(|line| line.as_bytes().to_vec()).collect(),
        body: "v1.0.0\n",
        trailers: "",
        note: None,
    }
}

impl Row {
    fn line(mut self, line: &[u8]) -> Self {
        self.lines.push(line.to_vec());
        self
    }

    fn ending(mut self, how: Step) -> Self {
        self.ends = Some(how);
        self
    }

    fn noted(mut self, note: &'static str) -> Self {
        self.note = Some(note);
        self
    }

    fn bodyless(mut self) -> Self {
        self.body = "";
        self
    }

    fn trailing(mut self, trailers: &'static str) -> Self {
        self.trailers = trailers;
        self
    }
}

const LENGTH: &str = "Content-Length: 7\r\n";

fn with(fields: &str) -> String {
    format!("HTTP/1.1 200 OK\r\n{LENGTH}{fields}\r\nv1.0.0\n")
}

fn many(fields: usize) -> String {
    (0..fields).map(|n| format!("X-{n}: v{n}\r\n")).collect()
}

fn passing() -> Vec<Row> {
    let chunked = "Transfer-Encoding: chunked\r\n";
    let chunks = "7\r\nv1.0.0\n\r\n0\r\n";
    let hints = "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\nX y: z\r\n\r\n".repeat(3);
    let cut = "the body ended with the connection, without TLS's close_notify";
    let surplus = " bytes came behind the end of the response";
    vec![
        row(
            "close",
            "HTTP/1.0 200 OK\r\nX: y\r\n\r\nv1.0.0\n",
            &["x: y"],
        )
        .ending(Step::HangUp)
        .noted(cut),
        row(
            "close-11",
            "HTTP/1.1 200 OK\r\nX: y\r\n\r\nv1.0.0\n",
            &["x: y"],
        )
        .ending(Step::HangUp)
        .noted(cut),
        row(
            "goodbye",
            "HTTP/1.0 200 OK\r\nX: y\r\n\r\nv1.0.0\n",
            &["x: y"],
        )
        .ending(Step::Close),
        row("length-and-hang-up", with(""), &["content-length: 7"]).ending(Step::HangUp),
        row(
            "150-fields",
            with(&many(150)),
            &["x-0: v0", "x-99: v99", "x-149: v149"],
        ),
        row(
            "19990-fields",
            with(&many(19_990)),
            &["x-0: v0", "x-19989: v19989"],
        ),
        row(
            "fields-around-the-length",
            format!(
                "HTTP/1.1 200 OK\r\n{}{LENGTH}{}\r\nv1.0.0\n",
                many(120),
                "X-0: w\r\n"
            ),
            &["x-119: v119", "x-0: v0", "x-0: w"],
        ),
        row(
            "1-MB",
            with(&format!("X: {}\r\n", "a".repeat(1_000_000))),
            &[],
        ),
        row(
            "fold",
            with("X: one \r\n\t two\r\n  three\r\nY: z\r\n"),
            &["x: one two three", "y: z"],
        ),
        row(
            "fold-far-behind",
            with(&format!(
                "{}X: one \r\n\t two\r\n  three\r\nY: z\r\n",
                many(90)
            )),
            &["x: one two three", "y: z"],
        ),
        row(
            "folded-coding",
            format!("HTTP/1.1 200 OK\r\nTransfer-Encoding:\r\n chunked\r\n\r\n{chunks}\r\n"),
            &[],
        ),
        row(
            "space",
            with("X y: z\r\n folded\r\nY : z\r\nX-Good: g\r\n"),
            &["x-good: g"],
        )
        .noted("a field with a space in its name was not passed on: \"X y\""),
        row(
            "reason",
            "HTTP/1.1 401 Non-Autoris\u{e9}\r\nContent-Length: 0\r\n\r\n",
            &[],
        )
        .line("HTTP/1.1 401 Non-Autoris\u{e9}".as_bytes())
        .bodyless(),
        row(
            "reason-latin",
            b"HTTP/1.1 401 Non-Autoris\xe9\r\nContent-Length: 0\r\n\r\n",
            &[],
        )
        .line(b"HTTP/1.1 401 Non-Autoris\xe9")
        .bodyless(),
        row(
            "reason-own",
            with("").replace("OK", "Sure"),
            &["HTTP/1.1 200 Sure"],
        ),
        row(
            "hints",
            format!("{hints}HTTP/1.1 200 M\u{e4}rz\r\n{LENGTH}\r\nv1.0.0\n"),
            &["HTTP/1.1 200 M\u{e4}rz"],
        ),
        row(
            "values",
            with("X: M\u{e4}rz \r\nY:\r\n"),
            &["x: M\u{e4}rz", "y: "],
        ),
        row("surplus", with("") + &with(""), &["content-length: 7"]).noted(surplus),
        row(
            "204",
            format!("HTTP/1.1 204 No Content\r\n{LENGTH}\r\nv1.0.0\n"),
            &["HTTP/1.1 204 No Content", "content-length: 7"],
        )
        .bodyless()
        .noted(surplus),
        row(
            "304",
            format!("HTTP/1.1 304 Not Modified\r\n{LENGTH}ETag: \"a\"\r\n\r\n"),
            &["content-length: 7", "etag: \"a\""],
        )
        .bodyless(),
        row(
            "trailers",
            format!("HTTP/1.1 200 OK\r\n{chunked}Trailer: X-Sum\r\n\r\n{chunks}X-Sum: abc\r\n\r\n"),
            &["trailer: X-Sum"],
        )
        .trailing("x-sum: abc\r\n"),
        row(
            "trailers-unannounced",
            format!("HTTP/1.1 200 OK\r\n{chunked}\r\n{chunks}X-Sum: abc\r\n\r\n"),
            &[],
        )
        .noted("trailers were not passed on, the response head did not announce them: x-sum"),
    ]
}

fn origin(rows: Vec<Row>) -> RawOrigin {
    RawOrigin::start(move |asked| {
        let is_of = |row: &&Row| asked.starts_with(format!("GET /{} ", row.name).as_bytes());
        let Some(row) = rows.iter().find(is_of) else {
            return Vec::new();
        };
        let mut steps = vec![Step::send(&row.answer)];
        steps.extend(row.ends.clone());
        steps
    })
}

/// What a client gets that asks for one response and takes trailers.
async fn ask(proxy: std::net::SocketAddr, hello: Hello, name: &str) -> Answer {
    let client = Client::open(proxy).await;
    let connected = client.connect(&format!("{HOST}:443"), &[]).await;
    let hello = hello.alpn(Alpn::Http1);
    let mut client = connected.client.handshake(&hello).await.expect("TLS");
    let te = "TE: trailers\r\nConnection: te, close\r\nIf-None-Match: \"a\"";
    let head = format!("GET /{name} HTTP/1.1\r\nHost: {HOST}\r\n{te}\r\n\r\n");
    client.send(head).await.expect("the proxy reads");
    let (bytes, end) = client.read_to_end().await;
    end.expect("a goodbye");
    Answer::parse(&bytes)
}

/// A response as a client reads it.
#[derive(Debug, PartialEq, Eq)]
struct Answer {
    lines: Vec<Vec<u8>>,
    is_chunked: bool,
    body: Vec<u8>,
    trailers: Vec<u8>,
}

impl Answer {
    fn parse(bytes: &[u8]) -> Self {
        let end = bytes.windows(4).position(|four| four == b"\r\n\r\n");
        let (head, mut rest) = bytes.split_at(end.expect("a head") + 4);
        let is_cr = |byte: &u8| *byte == b'\r';
        let mut lines: Vec<Vec<u8>> = head
            .split(|byte| *byte == b'\n')
            .map(|line| line.split(is_cr).next().unwrap_or_default())
            .filter(|line| !line.is_empty())
            .map(|line| match line.iter().position(|byte| *byte == b':') {
                Some(colon) => [&line[..colon].to_ascii_lowercase(), &line[colon..]].concat(),
                None => line.to_vec(),
            })
            .collect();
        let coding = b"transfer-encoding: chunked";
        let is_chunked = lines.iter().any(|line| line == coding);
        lines.retain(|line| line != coding);
        let (mut body, mut trailers) = (rest.to_vec(), Vec::new());
        if is_chunked {
            body.clear();
            loop {
                let line = rest.iter().position(is_cr).expect("a chunk");
                let size = std::str::from_utf8(&rest[..line]).expect("digits");
                let size = usize::from_str_radix(size, 16).expect("digits");
                rest = &rest[line + 2..];
                if size == 0 {
                    trailers = rest[..rest.len() - 2].to_vec();
                    break;
                }
                body.extend(&rest[..size]);
                rest = &rest[size + 2..];
            }
        }
        Self {
            lines,
            is_chunked,
            body,
            trailers,
        }
    }

    /// Without what is of the framing, which a replay makes anew.
    fn lasting(mut self) -> Self {
        let framing: [&[u8]; 2] = [b"content-length: ", b"connection: "];
        let is_framing = |line: &[u8]| framing.iter().any(|name| line.starts_with(name));
        self.lines.retain(|line| !is_framing(line));
        self.lines.sort();
        self.is_chunked = false;
        self
    }
}

#[tokio::test]
async fn what_go_takes_of_an_odd_origin_passes_and_is_replayed() {
    let rows = passing();
    let raw = origin(passing());
    let everywhere = format!("--connect-to=::127.0.0.1:{}", raw.addr().port());
    let recorder = Recorder::trusting(raw.root_pem_path(), &[&everywhere]);
    let (mut failed, mut answers) = (Vec::new(), Vec::new());
    for row in &rows {
        let answer = ask(recorder.proxy(), recorder.hello(HOST), row.name).await;
        let lacks: Vec<_> = row
            .lines
            .iter()
            .filter(|line| !answer.lines.contains(line))
            .map(|line| line.escape_ascii().to_string())
            .collect();
        let came = (&answer.body[..], &answer.trailers[..]);
        if !lacks.is_empty() || came != (row.body.as_bytes(), row.trailers.as_bytes()) {
            let shown: Vec<_> = answer.lines.iter().take(9).collect();
            let shown: Vec<_> = shown
                .iter()
                .map(|l| l[..l.len().min(99)].escape_ascii().to_string())
                .collect();
            failed.push(format!("{}: {lacks:?}, {came:?} {shown:?}", row.name));
        }
        answers.push(answer);
    }
    let recorded = recorder.finish().await;
    for (row, exchange) in rows.iter().zip(recorded.exchanges()) {
        let Some(end) = exchange.end().filter(|end| end.made_by == MadeBy::Origin) else {
            failed.push(format!("{}: {:?}", row.name, exchange.ending));
            continue;
        };
        let is_noted = match (row.note, &end.notes[..]) {
            (Some(note), [first, ..]) => first.ends_with(note),
            (note, notes) => note.is_none() && notes.is_empty(),
        };
        if !is_noted {
            failed.push(format!("{}: {:?}", row.name, end.notes));
        }
    }
    assert!(failed.is_empty(), "{failed:#?}");
    let sandbox = recorded.sandbox.expect("it is ours");
    let mut modtape = sandbox.modtape(["replay", "one", "--"]);
    modtape.args(["/bin/sh", "-c", TELLS]);
    let (_replay, proxy, root) = Spawned::proxy(modtape, &sandbox);
    for (row, answer) in rows.iter().zip(answers) {
        let again = ask(proxy, Hello::new(HOST, &root), row.name).await;
        if again.lasting() != answer.lasting() {
            failed.push(row.name.to_owned());
        }
    }
    assert!(failed.is_empty(), "not the same when replayed: {failed:#?}");
}

#[tokio::test]
async fn what_cannot_pass_of_an_odd_head_says_why() {
    let refused = || {
        [
            (
                "fields",
                with(&many(20_001)),
                "the response head has more than 20000 fields",
            ),
            (
                "bytes",
                with(&format!("X: {}\r\n", "a".repeat(1_100_000))),
                "the response head is longer than 1048576 bytes",
            ),
            (
                "far",
                with(&format!("{}X-Bad: a\0b\r\n", many(100))),
                "an invalid field X-Bad",
            ),
            (
                "space",
                with("Transfer-Encoding : chunked\r\n"),
                "a space in the name of the field Transfer-Encoding",
            ),
        ]
    };
    let raw = origin(
        refused()
            .map(|(name, answer, _)| row(name, answer, &[]))
            .into(),
    );
    let everywhere = format!("--connect-to=::127.0.0.1:{}", raw.addr().port());
    let recorder = Recorder::trusting(raw.root_pem_path(), &[&everywhere]);
    for (name, _, why) in refused() {
        let mut session = session(&recorder, Alpn::Http1).await;
        let answer = session.get(&format!("/{name}")).await.expect("ours");
        assert_ours(&answer, 502, why);
    }
}

#[tokio::test]
async fn a_connection_that_the_origin_closes_is_closed_behind_the_same_response() {
    let close = with("Connection: Close\r\n");
    let old = with("").replace("1.1", "1.0");
    let lasting = old.replace("\r\nC", "\r\nConnection: keep-alive\r\nC");
    let until = String::from("HTTP/1.1 200 OK\r\n\r\nv1.0.0\n");
    let rows = move || {
        [
            ("close", close.clone(), true),
            ("old", old.clone(), true),
            ("lasting", lasting.clone(), false),
            ("until", until.clone(), true),
            ("usual", with(""), false),
        ]
    };
    let of_origin = rows().map(|(name, answer, _)| match name {
        "until" => row(name, answer, &[]).ending(Step::HangUp),
        _ => row(name, answer, &[]),
    });
    let raw = origin(of_origin.into());
    let everywhere = format!("--connect-to=::127.0.0.1:{}", raw.addr().port());
    let recorder = Recorder::trusting(raw.root_pem_path(), &[&everywhere]);
    for (name, _, closes) in rows() {
        let mut session = session(&recorder, Alpn::Http1).await;
        let answer = session.get(&format!("/{name}")).await.expect("an answer");
        let said = answer.header("connection");
        assert_eq!(said, closes.then_some("close"), "{name}");
    }
}
