//! Repositories, and `git http-backend` behind an origin: a CGI program, one process a request.

use std::io::{Read as _, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};

use super::client::LIMIT;
use super::log::Served;
use super::sandbox::{Sandbox, run};

/// Makes `team/lib.git`, a module of that path with a tag and one file of so many bytes of noise.
pub fn repository(module: &str, bytes: u64) -> Sandbox {
    let sandbox = Sandbox::new();
    let script = r#"mkdir w && cd w && git init -q -b main . && printf "module $1\n\ngo 1.18\n" >go.mod
        echo 'package lib' >lib.go && head -c "$0" /dev/urandom >noise && git add . && git commit -qm one
        git tag v1.0.0 && cd .. && git clone -q --bare w team/lib.git"#;
    let mut made = sandbox.command("sh");
    made.args(["-ec", script, &bytes.to_string(), module]);
    for who in ["AUTHOR", "COMMITTER"] {
        made.env(format!("GIT_{who}_NAME"), "Ada");
        made.env(format!("GIT_{who}_EMAIL"), "ada@git.corp");
    }
    made.env("GIT_CONFIG_NOSYSTEM", "1");
    made.env("GIT_CONFIG_GLOBAL", "/dev/null");
    run(made, LIMIT).expect_success();
    sandbox
}

/// What the program answers.
pub struct Answered {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Bytes,
}

/// Has the repositories below `root` answer a request with this body.
pub fn answer(root: &Path, served: &Served, body: &[u8]) -> Answered {
    let query = served
        .raw_path
        .split_once('?')
        .map_or("", |(_, query)| query);
    let field = |name: &str| {
        let value = served.headers.get(name);
        value
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default()
    };
    let mut program = Command::new("git")
        .arg("http-backend")
        .env("GIT_PROJECT_ROOT", root)
        .env("GIT_HTTP_EXPORT_ALL", "1")
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("REQUEST_METHOD", served.method.as_str())
        .env("PATH_INFO", &served.path)
        .env("QUERY_STRING", query)
        .env("CONTENT_TYPE", field("content-type"))
        .env("CONTENT_LENGTH", body.len().to_string())
        .env("HTTP_CONTENT_ENCODING", field("content-encoding"))
        .env("GIT_PROTOCOL", field("git-protocol"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("git can be run");
    let mut stdin = program.stdin.take().expect("stdin is a pipe");
    let mut said = Vec::new();
    std::thread::scope(|scope| {
        // It may end before it has read all.
        scope.spawn(move || drop(stdin.write_all(body)));
        let mut stdout = program.stdout.take().expect("stdout is a pipe");
        stdout.read_to_end(&mut said).expect("a pipe can be read");
    });
    program.wait().expect("a child can be waited for");
    parse(&said)
}

/// Takes apart what a CGI program said (RFC 3875 section 6).
fn parse(said: &[u8]) -> Answered {
    let end = said.windows(4).position(|bytes| bytes == b"\r\n\r\n");
    let end = end.expect("git http-backend ends its head");
    let head = std::str::from_utf8(&said[..end]).expect("its head is text");
    let mut answered = Answered {
        status: 200,
        headers: HeaderMap::new(),
        body: Bytes::copy_from_slice(&said[end + 4..]),
    };
    for line in head.split("\r\n") {
        let (name, value) = line.split_once(": ").expect("a field");
        if name == "Status" {
            let code = value.split(' ').next().unwrap_or_default();
            answered.status = code.parse().expect("a status code");
        } else {
            let name: HeaderName = name.parse().expect("a header name");
            answered
                .headers
                .append(name, HeaderValue::from_str(value).expect("a header value"));
        }
    }
    answered
}
