//! The credentials that cmd/go sends with requests over https (`cmd/go/internal/auth`): what GOAUTH names
//! is asked in go's own order, once before the first request, and with the URL of each that got a 4xx.

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use http::header::{AUTHORIZATION, HeaderMap, HeaderName, HeaderValue};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::Command;
use tokio::sync::OnceCell;

use crate::gomod::{MachineRule, Netrc};

/// The most that a program of GOAUTH may say, bytes.
const OUTPUT: usize = 1 << 20;

/// How long a program may take. A person may have to log in; go itself would wait for ever.
const LIMIT: Duration = Duration::from_secs(300);

/// What GOAUTH names, and the credentials that came of it so far.
#[derive(Debug)]
pub(crate) struct GoAuth {
    methods: Vec<Method>,
    rule: MachineRule,
    netrc: Netrc,
    /// Where programs run; `None` for the current folder.
    folder: Option<PathBuf>,
    /// Environment variables that programs get besides.
    environment: Vec<(&'static str, &'static str)>,
    has_begun: OnceCell<()>,
    // A std Mutex: held for a map operation, never across an await.
    known: Mutex<HashMap<String, HeaderMap>>,
}

/// One way to find credentials.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Method {
    Netrc,
    /// `git credential fill` in this folder.
    Git(PathBuf),
    Program(Vec<String>),
}

/// Why a GOAUTH cannot be used; the go command says the same.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum GoAuthError {
    #[error("GOAUTH has an empty command")]
    Empty,
    #[error("GOAUTH=off cannot be combined with other commands")]
    Off,
    #[error("GOAUTH=git takes the absolute path of one folder")]
    Git,
    #[error("GOAUTH has an unterminated quote")]
    Quote,
}

/// A response that was no success, as a program is told of it.
#[derive(Debug, Clone)]
pub(crate) struct Refused {
    /// The protocol, as in `HTTP/1.1`.
    pub(crate) version: &'static str,
    /// The status.
    pub(crate) status: http::StatusCode,
    /// The reason phrase of the upstream, where its protocol has one.
    pub(crate) reason: Option<Vec<u8>>,
    /// The header fields.
    pub(crate) headers: HeaderMap,
}

/// What git gave, for it to be told whether it was right.
#[derive(Debug)]
pub(crate) struct GitCredential {
    folder: PathBuf,
    environment: Vec<(&'static str, &'static str)>,
    text: Vec<u8>,
}

impl GoAuth {
    /// Credentials of nobody: `GOAUTH=off`.
    pub(crate) fn off() -> Self {
        Self::with(Vec::new(), MachineRule::Prefix, Netrc::default())
    }

    /// Those of go before 1.24, which reads the netrc file alone.
    pub(crate) fn of_netrc(netrc: Netrc) -> Self {
        Self::with(vec![Method::Netrc], MachineRule::Host, netrc)
    }

    /// Reads the value as go does; `netrc` is what that file holds.
    pub(crate) fn parse(value: &str, netrc: Netrc) -> Result<Self, GoAuthError> {
        if value == "off" {
            return Ok(Self::off());
        }
        let methods = value.split(';').map(|command| {
            let words: Vec<&str> = command.split_whitespace().collect();
            match words[..] {
                [] => Err(GoAuthError::Empty),
                ["off", ..] => Err(GoAuthError::Off),
                ["netrc", ..] => Ok(Method::Netrc),
                ["git", folder] if folder.starts_with('/') => Ok(Method::Git(folder.into())),
                ["git", ..] => Err(GoAuthError::Git),
                _ => Ok(Method::Program(split_quoted(command)?)),
            }
        });
        let methods: Result<_, _> = methods.collect();
        Ok(Self::with(methods?, MachineRule::Prefix, netrc))
    }

    fn with(methods: Vec<Method>, rule: MachineRule, netrc: Netrc) -> Self {
        Self {
            methods,
            rule,
            netrc,
            folder: None,
            environment: Vec::new(),
            has_begun: OnceCell::new(),
            known: Mutex::default(),
        }
    }

    /// Runs programs in this folder.
    #[must_use]
    pub(crate) fn running_in(self, folder: Option<PathBuf>) -> Self {
        Self { folder, ..self }
    }

    /// Gives programs these environment variables besides.
    #[must_use]
    pub(crate) fn with_environment(self, variables: Vec<(&'static str, &'static str)>) -> Self {
        Self {
            environment: variables,
            ..self
        }
    }

    /// Whether go, too, would compare the host of a URL alone, whatever userinfo it has.
    pub(crate) fn is_by_host(&self) -> bool {
        self.rule == MachineRule::Host
    }

    /// Whether there may be other credentials for a request that got a 4xx.
    pub(crate) fn can_ask_again(&self) -> bool {
        self.methods.iter().any(|method| *method != Method::Netrc)
    }

    /// The programs that are asked, git among them, in words; `None` without any.
    pub(crate) fn programs(&self) -> Option<String> {
        let names = self.methods.iter().filter_map(|method| match method {
            Method::Netrc => None,
            Method::Git(folder) => Some(format!("git credential in {}", folder.display())),
            // Without its arguments, which may hold a secret.
            Method::Program(words) => words.first().cloned(),
        });
        let names: Vec<String> = names.collect();
        match &names[..] {
            [] => None,
            [name] => Some(format!("GOAUTH program {name}")),
            names => Some(format!("GOAUTH programs {}", names.join(" and "))),
        }
    }

    /// Whether [`credentials`](Self::credentials) waits for no program.
    pub(crate) fn is_settled(&self) -> bool {
        let is_program = |method: &Method| matches!(method, Method::Program(_));
        self.has_begun.initialized() || !self.methods.iter().any(is_program)
    }

    /// What is sent with a request for this URL; nothing but over https.
    pub(crate) async fn credentials(&self, url: &str) -> HeaderMap {
        let Some(place) = url.strip_prefix("https://") else {
            return HeaderMap::new();
        };
        self.has_begun
            .get_or_init(|| async {
                self.ask(None).await;
            })
            .await;
        self.known_for(place)
    }

    /// Asks again, about a URL whose response was `refused`; what is sent then, and what git gave of it.
    pub(crate) async fn credentials_after(
        &self,
        url: &str,
        refused: &Refused,
    ) -> (HeaderMap, Vec<GitCredential>) {
        let Some(place) = url.strip_prefix("https://") else {
            return (HeaderMap::new(), Vec::new());
        };
        let given = self.ask(Some((url, refused))).await;
        (self.known_for(place), given)
    }

    fn known_for(&self, place: &str) -> HeaderMap {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if self.rule == MachineRule::Host {
            let login = self.netrc.login_for(place, self.rule);
            return login.map_or_else(HeaderMap::new, |login| basic(&login.login, &login.password));
        }
        let mut prefix = place.strip_suffix('/').unwrap_or(place);
        loop {
            if let Some(headers) = known.get(prefix) {
                return headers.clone();
            }
            let Some(slash) = prefix.rfind('/') else {
                return HeaderMap::new();
            };
            prefix = &prefix[..slash];
        }
    }

    /// Asks each in reverse order, so that the first has the last word.
    async fn ask(&self, about: Option<(&str, &Refused)>) -> Vec<GitCredential> {
        let mut given = Vec::new();
        for method in self.methods.iter().rev() {
            let found = match (method, about) {
                (Method::Netrc, _) => {
                    // The first entry of a machine counts.
                    for login in self.netrc.logins.iter().rev() {
                        self.keep(&login.machine, basic(&login.login, &login.password));
                    }
                    continue;
                }
                // git cannot say what it has without a URL.
                (Method::Git(_), None) => continue,
                (Method::Git(folder), Some((url, _))) => {
                    let credential = self.git_credential(folder, url).await;
                    credential.map(|(prefix, headers, credential)| {
                        given.push(credential);
                        vec![(prefix, headers)]
                    })
                }
                (Method::Program(words), _) => self.run(words, about).await,
            };
            match found {
                Ok(found) => found
                    .into_iter()
                    .for_each(|(prefix, headers)| self.keep(&prefix, headers)),
                // Without what the program said, which may hold a secret.
                Err(error) => tracing::info!(target: "modtape::connection", "GOAUTH: {error}"),
            }
        }
        given
    }

    fn keep(&self, prefix: &str, headers: HeaderMap) {
        let prefix = prefix.strip_prefix("https://").unwrap_or(prefix);
        let prefix = prefix.strip_suffix('/').unwrap_or(prefix).to_owned();
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if headers.is_empty() {
            known.remove(&prefix);
        } else {
            known.insert(prefix, headers);
        }
    }

    async fn run(
        &self,
        words: &[String],
        about: Option<(&str, &Refused)>,
    ) -> io::Result<Vec<(String, HeaderMap)>> {
        let (program, arguments) = words
            .split_first()
            .ok_or_else(|| io::Error::other("an empty command"))?;
        let mut command = Command::new(program);
        command.args(arguments);
        let mut input = Vec::new();
        if let Some((url, refused)) = about {
            command.arg(url);
            input = refused.to_text();
        }
        if let Some(folder) = &self.folder {
            command.current_dir(folder);
        }
        command.envs(self.environment.iter().copied());
        let said = output(command, &input).await;
        let said = said.map_err(|error| io::Error::other(format!("{program}: {error}")))?;
        let parsed = parse_user_auth(&String::from_utf8_lossy(&said));
        parsed.ok_or_else(|| io::Error::other(format!("{program}: its output cannot be read")))
    }
}

impl Refused {
    fn to_text(&self) -> Vec<u8> {
        let usual = self.status.canonical_reason().unwrap_or_default();
        let reason = self.reason.as_deref().unwrap_or(usual.as_bytes());
        let mut text = format!("{} {} ", self.version, self.status.as_u16()).into_bytes();
        text.extend_from_slice(reason);
        text.push(b'\n');
        for name in self.headers.keys() {
            text.extend_from_slice(in_mime_case(name).as_bytes());
            text.extend_from_slice(b": ");
            let values = self.headers.get_all(name).iter();
            let values: Vec<&[u8]> = values.map(HeaderValue::as_bytes).collect();
            text.extend_from_slice(&values.join(&b", "[..]));
            text.push(b'\n');
        }
        text.push(b'\n');
        text
    }
}

/// The name as go writes it, whose programs may compare it (`textproto.CanonicalMIMEHeaderKey`).
fn in_mime_case(name: &HeaderName) -> String {
    let mut begins = true;
    let chars = name.as_str().chars().map(|c| {
        let c = if begins { c.to_ascii_uppercase() } else { c };
        begins = c == '-';
        c
    });
    chars.collect()
}

impl GoAuth {
    async fn git_credential(
        &self,
        folder: &Path,
        url: &str,
    ) -> io::Result<(String, HeaderMap, GitCredential)> {
        let environment = self.environment.clone();
        let asked = format!("url={url}\n");
        let text = git(folder, &environment, "fill", asked.as_bytes()).await?;
        let said = String::from_utf8_lossy(&text).into_owned();
        let value = |key: &str| {
            let lines = said.lines().map(str::trim);
            let mut values = lines.filter_map(|line| line.strip_prefix(key)?.strip_prefix('='));
            values.next_back().unwrap_or_default()
        };
        let prefix = match value("url") {
            "" => {
                let path = value("path");
                let slash = if path.is_empty() { "" } else { "/" };
                format!("{}://{}{slash}{path}", value("protocol"), value("host"))
            }
            url => url.to_owned(),
        };
        if !url.starts_with(&prefix) {
            return Err(io::Error::other("git gave a credential for another URL"));
        }
        let headers = basic(value("username"), value("password"));
        let credential = GitCredential {
            folder: folder.to_owned(),
            environment,
            text,
        };
        Ok((prefix, headers, credential))
    }
}

impl GitCredential {
    /// Tells git whether the credential was right, so that its helper keeps or forgets it.
    pub(crate) async fn was(&self, is_right: bool) {
        let verb = if is_right { "approve" } else { "reject" };
        let _ = git(&self.folder, &self.environment, verb, &self.text).await;
    }
}

async fn git(
    folder: &Path,
    environment: &[(&'static str, &'static str)],
    verb: &str,
    input: &[u8],
) -> io::Result<Vec<u8>> {
    let mut command = Command::new("git");
    command.args(["credential", verb]).current_dir(folder);
    command.envs(environment.iter().copied());
    let said = output(command, input).await;
    said.map_err(|error| io::Error::other(format!("git credential {verb}: {error}")))
}

/// What a program says that is given `input`. What it says on stderr is for nobody: go keeps it too.
async fn output(mut command: Command, input: &[u8]) -> io::Result<Vec<u8>> {
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true);
    let mut child = command.spawn()?;
    let (stdin, stdout) = (child.stdin.take(), child.stdout.take());
    let writing = async {
        if let Some(mut stdin) = stdin {
            // It need not read all, or anything.
            let _ = stdin.write_all(input).await;
        }
    };
    let reading = async {
        let mut said = Vec::new();
        if let Some(stdout) = stdout {
            let mut stdout = stdout.take(OUTPUT as u64 + 1);
            stdout.read_to_end(&mut said).await?;
        }
        match said.len() {
            0..=OUTPUT => Ok((said, child.wait().await?)),
            _ => Err(io::Error::other("it says too much")),
        }
    };
    // What it says may be waited for with input that it has not read yet.
    let both = async {
        tokio::pin!(writing);
        tokio::select! {
            said = reading => said,
            never = async { writing.await; std::future::pending().await } => never,
        }
    };
    let late = |_| io::Error::other(format!("it was not done within {LIMIT:?}"));
    let (said, status) = tokio::time::timeout(LIMIT, both).await.map_err(late)??;
    match status.success() {
        true => Ok(said),
        false => Err(io::Error::other(status.to_string())),
    }
}

/// Basic credentials (RFC 7617).
pub(crate) fn basic(user: &str, password: &str) -> HeaderMap {
    let encoded = BASE64.encode(format!("{user}:{password}"));
    let mut headers = HeaderMap::new();
    if let Ok(value) = HeaderValue::try_from(format!("Basic {encoded}")) {
        headers.insert(AUTHORIZATION, value);
    }
    headers
}

/// Blocks of URLs, an empty line, header fields, an empty line (`go help goauth`); `None` for anything else.
fn parse_user_auth(text: &str) -> Option<Vec<(String, HeaderMap)>> {
    let mut found = Vec::new();
    let mut rest = text;
    let next = |rest: &mut &str| {
        let (line, behind) = rest.split_once('\n')?;
        *rest = behind;
        Some(line.to_owned())
    };
    while !rest.is_empty() {
        let mut urls = Vec::new();
        loop {
            let line = next(&mut rest)?;
            if line.is_empty() {
                break;
            }
            let is_url = line.starts_with('/') || url::Url::parse(&line).is_ok();
            urls.push(Some(line).filter(|_| is_url)?);
        }
        let mut headers = HeaderMap::new();
        loop {
            let line = next(&mut rest)?;
            if line.is_empty() {
                break;
            }
            let (name, value) = line.split_once(": ")?;
            let name = HeaderName::from_bytes(name.as_bytes()).ok()?;
            headers.append(name, HeaderValue::from_str(value.trim()).ok()?);
        }
        found.extend(urls.into_iter().map(|url| (url, headers.clone())));
    }
    Some(found)
}

/// Words with quotes about them (`cmd/internal/quoted.Split`): a quote counts where a word begins.
fn split_quoted(text: &str) -> Result<Vec<String>, GoAuthError> {
    let mut words = Vec::new();
    let mut rest = text.trim_start();
    while let Some(first) = rest.chars().next() {
        let (word, behind) = if matches!(first, '"' | '\'') {
            let (word, behind) = rest[1..].split_once(first).ok_or(GoAuthError::Quote)?;
            (word, behind)
        } else {
            let end = rest.find(char::is_whitespace).unwrap_or(rest.len());
            rest.split_at(end)
        };
        words.push(word.to_owned());
        rest = behind.trim_start();
    }
    Ok(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(headers: &HeaderMap) -> Option<&str> {
        headers.get(AUTHORIZATION)?.to_str().ok()
    }

    const ANA: &str = "Basic YW5hOng=";

    fn netrc(text: &str) -> Netrc {
        Netrc::parse(text)
    }

    #[tokio::test]
    async fn netrc_is_for_https_and_its_own_place() {
        let netrc =
            netrc("machine a.example login ana password x\nmachine a.example login bob password y");
        let by_prefix = GoAuth::parse("netrc", netrc.clone()).unwrap();
        let by_host = GoAuth::of_netrc(netrc);
        for (url, prefix, host) in [
            ("https://a.example/x/@v/list", Some(ANA), Some(ANA)),
            ("https://a.example", Some(ANA), Some(ANA)),
            ("https://a.example:8443/x", None, Some(ANA)),
            ("http://a.example/x", None, None),
            ("https://b.a.example/x", None, None),
        ] {
            let found = by_prefix.credentials(url).await;
            assert_eq!(text(&found), prefix, "{url}");
            assert_eq!(text(&by_host.credentials(url).await), host, "{url}");
        }
        assert!(!by_prefix.can_ask_again() && by_prefix.is_settled());
        assert_eq!(by_prefix.programs(), None);
    }

    #[tokio::test]
    async fn a_program_is_asked_once_and_then_with_the_url_and_the_answer() {
        let temp = tempfile::tempdir().unwrap();
        let script = "#!/bin/sh\necho \"$# $2\" >>asked\ncat >>asked\n\
            test -z \"$2\" && printf 'https://a.example\\n\\nX-Key: one\\n\\n' && exit\n\
            printf 'https://a.example/x\\n\\nAuthorization: Bearer two\\nX-Key: three\\n\\n'\n";
        let path = temp.path().join("it's");
        std::fs::write(&path, script).unwrap();
        let value = format!("sh \"{}\" word", path.display());
        let auth = GoAuth::parse(&value, Netrc::default()).unwrap();
        let auth = auth.running_in(Some(temp.path().to_owned()));
        assert!(auth.can_ask_again() && !auth.is_settled());
        assert_eq!(auth.programs().as_deref(), Some("GOAUTH program sh"));
        let url = "https://a.example/x/@v/list";
        for _ in 0..2 {
            let first = auth.credentials(url).await;
            assert_eq!(first["x-key"], "one");
            assert_eq!(text(&first), None);
        }
        let mut headers = HeaderMap::new();
        headers.insert("www-authenticate", HeaderValue::from_static("Bearer"));
        let refused = Refused {
            version: "HTTP/2.0",
            status: http::StatusCode::UNAUTHORIZED,
            reason: None,
            headers,
        };
        let (again, given) = auth.credentials_after(url, &refused).await;
        assert_eq!(text(&again), Some("Bearer two"));
        assert_eq!(again["x-key"], "three");
        assert!(given.is_empty());
        let other = auth.credentials("https://a.example/y").await;
        assert_eq!(other["x-key"], "one");
        let asked = std::fs::read_to_string(temp.path().join("asked")).unwrap();
        let told = "HTTP/2.0 401 Unauthorized\nWww-Authenticate: Bearer\n\n";
        assert_eq!(asked, format!("1 \n2 {url}\n{told}"));
    }

    #[tokio::test]
    async fn a_program_may_speak_before_it_has_read_and_is_cut_where_it_never_ends() {
        let input = vec![b'a'; 1 << 20];
        let program = |script: &str| {
            let mut command = Command::new("sh");
            command.args(["-c", script]);
            command
        };
        let half = OUTPUT / 2;
        let speaks_first = format!("head -c {half} /dev/zero; cat >/dev/null");
        let said = output(program(&speaks_first), &input).await.unwrap();
        assert_eq!(said.len(), half);
        assert!(output(program("exec cat /dev/zero"), &input).await.is_err());
        assert!(output(program("exec 0<&-; exit 1"), &input).await.is_err());
    }

    #[tokio::test]
    async fn a_program_is_told_what_the_upstream_said() {
        let mut headers = HeaderMap::new();
        headers.append("x-next-step", HeaderValue::from_static("a"));
        headers.append("x-next-step", HeaderValue::from_static("b"));
        let refused = Refused {
            version: "HTTP/1.1",
            status: http::StatusCode::FORBIDDEN,
            reason: Some(b"Who Are You".to_vec()),
            headers,
        };
        let told = String::from_utf8(refused.to_text()).unwrap();
        assert_eq!(told, "HTTP/1.1 403 Who Are You\nX-Next-Step: a, b\n\n");
    }

    #[tokio::test]
    async fn the_first_has_the_last_word() {
        let netrc = netrc("machine a.example login ana password x");
        let program = "sh -c 'printf \"https://a.example\\n\\nAuthorization: Bearer b\\n\\n\"'";
        for (value, expected) in [
            (format!("netrc; {program}"), ANA),
            (format!("{program}; netrc"), "Bearer b"),
            (String::from("false; netrc"), ANA),
            (String::from("echo no; netrc"), ANA),
        ] {
            let auth = GoAuth::parse(&value, netrc.clone()).unwrap();
            let found = auth.credentials("https://a.example/x").await;
            assert_eq!(text(&found), Some(expected), "{value}");
        }
    }

    #[tokio::test]
    async fn git_is_asked_with_a_url_and_told_whether_it_was_right() {
        let temp = tempfile::tempdir().unwrap();
        let run = |args: &[&str]| {
            let mut git = std::process::Command::new("git");
            git.args(args).current_dir(temp.path());
            git.env("GIT_CONFIG_GLOBAL", "/dev/null").status().unwrap()
        };
        assert!(run(&["init", "-q"]).success());
        let helper = "!f() { cat >>\"$PWD/told-$1\"; echo prompt=$GIT_TERMINAL_PROMPT >>\"$PWD/told-$1\"; test $1 = get && printf 'username=ana\\npassword=x\\n'; }; f";
        // The empty one takes those of the machine away.
        for helper in ["", helper] {
            assert!(run(&["config", "--add", "credential.helper", helper]).success());
        }
        // Not by a text, in which no path has a space.
        let git = vec![Method::Git(temp.path().to_owned())];
        let auth = GoAuth::with(git, MachineRule::Prefix, Netrc::default());
        let auth = auth.with_environment(vec![("GIT_TERMINAL_PROMPT", "0")]);
        let url = "https://a.example/x/@v/list";
        assert!(auth.credentials(url).await.is_empty());
        let refused = Refused {
            version: "HTTP/1.1",
            status: http::StatusCode::NOT_FOUND,
            reason: None,
            headers: HeaderMap::new(),
        };
        let (found, given) = auth.credentials_after(url, &refused).await;
        assert_eq!(text(&found), Some(ANA));
        let other = auth.credentials("https://b.example/x").await;
        assert!(other.is_empty());
        given[0].was(true).await;
        given[0].was(false).await;
        for verb in ["store", "erase"] {
            let told = std::fs::read_to_string(temp.path().join(format!("told-{verb}"))).unwrap();
            assert!(told.contains("password=x"), "{verb}: {told}");
            assert!(told.contains("prompt=0"), "{verb}: {told}");
        }
    }

    #[test]
    fn what_go_refuses_is_refused() {
        let parse = |value: &str| GoAuth::parse(value, Netrc::default()).map(|it| it.methods);
        let program =
            |words: &[&str]| Method::Program(words.iter().map(|&word| word.to_owned()).collect());
        let both = vec![Method::Netrc, Method::Git("/src".into())];
        for (value, expected) in [
            ("off", Ok(Vec::new())),
            ("netrc;git /src", Ok(both)),
            ("'a b' \"c\" d'e", Ok(vec![program(&["a b", "c", "d'e"])])),
            ("", Err(GoAuthError::Empty)),
            ("netrc;", Err(GoAuthError::Empty)),
            ("netrc;off", Err(GoAuthError::Off)),
            ("git", Err(GoAuthError::Git)),
            ("git src", Err(GoAuthError::Git)),
            ("git /a /b", Err(GoAuthError::Git)),
            ("'a", Err(GoAuthError::Quote)),
        ] {
            assert_eq!(parse(value), expected, "{value}");
        }
        assert_eq!(parse_user_auth("https://a\n\nX: y\n"), None);
        assert_eq!(parse_user_auth("a b\n\nX: y\n\n"), None);
        assert_eq!(parse_user_auth("https://a\n\nX y\n\n"), None);
        assert_eq!(parse_user_auth("").map(|found| found.len()), Some(0));
    }
}
