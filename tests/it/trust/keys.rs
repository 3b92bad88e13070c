//! Where our keys are: in the memory of one process, the root's not even there; in no core.

use std::fs;
use std::os::unix::fs::chown;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use aws_lc_rs::agreement::{ECDH_P256, PrivateKey};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

use super::*;

/// nobody, on every system that these tests run on.
const NOBODY: u32 = 65_534;

fn shell(sandbox: &Sandbox, script: &str) -> Command {
    let mut command = sandbox.command("/bin/sh");
    command.arg("-c").arg(script).current_dir(sandbox.path());
    command.env("MODTAPE", tested());
    command
}

fn cores(sandbox: &Sandbox) -> Vec<PathBuf> {
    let mut cores = files(sandbox.path());
    cores.retain(|path| {
        path.file_name()
            .is_some_and(|name| name.to_string_lossy().starts_with("core"))
    });
    cores
}

#[test]
fn a_recorder_that_crashes_leaves_no_core_and_its_command_may() {
    for (name, signal) in [("SEGV", 11), ("ABRT", 6)] {
        let sandbox = Sandbox::new();
        let control = format!("ulimit -c unlimited && kill -{name} $$");
        let control = run(shell(&sandbox, &control), LIMIT);
        if !control.status.core_dumped() {
            skipped("no core is ever dumped here (ulimit -c, core_pattern)");
            return;
        }
        for path in cores(&sandbox) {
            fs::remove_file(path).expect("our own folder");
        }
        // The command is told the limit that the user had set, and kills the recorder: more than
        // once, since Rust's own handler of SIGSEGV takes the first for a full stack, and leaves.
        let script = format!(
            "ulimit -c unlimited; exec $MODTAPE record -o one -- \
             /bin/sh -c 'ulimit -c; while kill -{name} $PPID; do :; done' 2>/dev/null"
        );
        let output = run(shell(&sandbox, &script), LIMIT);
        assert_eq!(output.status.signal(), Some(signal), "{}", output.stderr);
        assert!(!output.status.core_dumped(), "SIG{name}");
        assert_eq!(output.stdout, "unlimited\n", "what the command may dump");
        assert_eq!(cores(&sandbox), Vec::<PathBuf>::new());
    }
}

#[test]
fn no_other_program_of_the_same_user_looks_into_the_recorder() {
    // The command is such a program. Its own child shows that the doors open elsewhere.
    const SCRIPT: &str = r#"
        sleep 100 & other=$!
        for file in mem maps environ; do
            (: </proc/$PPID/$file) 2>/dev/null && echo "recorder $file"
            (: </proc/$other/$file) 2>/dev/null && echo "other $file"
        done
        kill $other"#;
    let sandbox = Sandbox::new();
    let script = "exec $MODTAPE record -o one -- /bin/sh -c \"$SCRIPT\"";
    let mut command = shell(&sandbox, script);
    if rustix::process::getuid().is_root() {
        // Root looks where it likes.
        for folder in ["", "home", "gopath", "modcache", "gocache", "tmp", "run"] {
            chown(sandbox.join(folder), Some(NOBODY), Some(NOBODY)).expect("root may");
        }
        let id = NOBODY.to_string();
        command = sandbox.command("/usr/bin/setpriv");
        command.args(["--reuid", &id, "--regid", &id, "--clear-groups"]);
        command
            .args(["/bin/sh", "-c", script])
            .current_dir(sandbox.path());
        command.env("MODTAPE", tested());
    }
    let output = run(
        {
            command.env("SCRIPT", SCRIPT);
            command
        },
        LIMIT,
    )
    .expect_success();
    assert_eq!(
        output.stdout, "other mem\nother maps\nother environ\n",
        "{}",
        output.stderr
    );
}

/// The public halves of the run's three keys, as uncompressed points.
struct Publics {
    root: Vec<u8>,
    issuer: Vec<u8>,
    leaf: Vec<u8>,
}

/// A recorder with a client's connection through it, and the keys that it showed.
async fn showing(origin: &Origin) -> (Recorder, Publics) {
    let recorder = Recorder::to(origin, &["--intercept", HOST]);
    let client = Client::open(recorder.proxy()).await;
    let connected = client.connect(&format!("{HOST}:443"), &[]).await;
    let hello = recorder.hello(HOST).alpn(Alpn::Http1);
    let client = connected
        .client
        .handshake(&hello)
        .await
        .expect("a handshake");
    let chain = client.tls.as_ref().expect("it is TLS").chain.clone();
    let mut session = client.into_session().await.expect("HTTP begins");
    assert_eq!(session.get("/a").await.expect("an answer").status, 200);
    let root = fs::read_to_string(recorder.folder().join("root.pem")).expect("it was written");
    let publics = Publics {
        root: point(&last_pem_block(&root)),
        issuer: point(&chain[1]),
        leaf: point(&chain[0]),
    };
    (recorder, publics)
}

/// The P-256 point in a certificate: a BIT STRING of 66 bytes that begins 00 04.
fn point(certificate: &[u8]) -> Vec<u8> {
    let at = certificate
        .windows(4)
        .position(|four| four == [3, 0x42, 0, 4]);
    let at = at.expect("a P-256 key") + 3;
    certificate[at..at + 65].to_vec()
}

/// The point that belongs to a private key, if these bytes can be one.
fn public_of(private: &[u8]) -> Option<Vec<u8>> {
    let key = PrivateKey::from_private_key(&ECDH_P256, private).ok()?;
    Some(key.compute_public_key().ok()?.as_ref().to_vec())
}

/// A private key looks random: 32 bytes with few alike, and not all of them text.
fn is_likely_key(bytes: &[u8]) -> bool {
    let mut seen = [false; 256];
    let mut kinds = 0;
    for byte in bytes {
        kinds += usize::from(!std::mem::replace(&mut seen[usize::from(*byte)], true));
    }
    kinds >= 20
        && !bytes
            .iter()
            .all(|byte| (b' '..=b'~').contains(byte) || *byte == b'\n')
}

/// The points of all private keys that stand in `bytes` at multiples of `step`.
fn points_in(bytes: &[u8], step: usize) -> impl Iterator<Item = Vec<u8>> {
    let windows = bytes.windows(32).step_by(step);
    windows
        .filter(|window| is_likely_key(window))
        .filter_map(public_of)
}

/// A file's bytes as they are, and its stretches of hex and base64 decoded.
fn forms(bytes: &[u8]) -> Vec<Vec<u8>> {
    let text = String::from_utf8_lossy(bytes).into_owned();
    let mut forms = vec![bytes.to_vec()];
    if text.contains("-----BEGIN ") {
        // The others are the system's roots, which nobody has the keys of.
        forms.push(last_pem_block(&text));
        return forms;
    }
    let is_base64 = |c: char| c.is_ascii_alphanumeric() || c == '+' || c == '/';
    for word in text
        .split(|c| !is_base64(c))
        .filter(|word| word.len() >= 43)
    {
        for skipped in 0..4 {
            let whole = (word.len() - skipped) / 4 * 4;
            forms.extend(BASE64.decode(&word[skipped..skipped + whole]));
        }
        if word.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            let digits: Vec<u32> = word.chars().filter_map(|c| c.to_digit(16)).collect();
            let pairs = digits
                .chunks_exact(2)
                .map(|pair| (pair[0] << 4 | pair[1]) as u8);
            forms.push(pairs.collect());
        }
    }
    forms
}

fn last_pem_block(text: &str) -> Vec<u8> {
    let last = text.rsplit("-----BEGIN ").next().unwrap_or_default();
    let lines = last
        .lines()
        .skip(1)
        .take_while(|line| !line.starts_with('-'));
    BASE64.decode(lines.collect::<String>()).unwrap_or_default()
}

/// All files below a folder.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => found.extend(files(&entry.path())),
            Ok(kind) if kind.is_file() => found.push(entry.path()),
            _ => {}
        }
    }
    found
}

fn origin() -> Origin {
    Origin::start(Content::files([((HOST, "/a"), (200, "text/plain", "a"))]))
}

#[tokio::test]
async fn no_private_key_stands_in_any_file_that_a_run_writes() {
    let origin = origin();
    let (recorder, Publics { root, issuer, leaf }) = showing(&origin).await;
    // A key that does stand in a file, to see that it would be found.
    let planted: Vec<u8> = (1..=32).map(|n: u8| n.wrapping_mul(37)).collect();
    let control = public_of(&planted).expect("a valid key");
    fs::write(
        recorder.folder().join("planted"),
        [&[0; 5][..], &planted].concat(),
    )
    .expect("ours");

    let mut found = Vec::new();
    let mut seen = 0;
    let keys = [
        ("root", &root),
        ("issuer", &issuer),
        ("leaf", &leaf),
        ("planted", &control),
    ];
    for path in files(recorder.folder()) {
        let bytes = fs::read(&path).expect("it can be read");
        let is_pem = String::from_utf8_lossy(&bytes).contains("PRIVATE KEY");
        assert!(!is_pem, "{}", path.display());
        seen += 1;
        for point in forms(&bytes).iter().flat_map(|form| points_in(form, 1)) {
            let key = keys.iter().find(|(_, public)| **public == point);
            found.extend(key.map(|(name, _)| *name));
        }
    }
    assert!(seen >= 4, "bundle, announcement, journal, manifest: {seen}");
    assert_eq!(found, ["planted"]);
    recorder.finish().await;
}

#[tokio::test]
async fn the_roots_key_is_wiped_before_anybody_connects() {
    if !rustix::process::getuid().is_root() {
        skipped("only root can read the memory of a recorder");
        return;
    }
    let origin = origin();
    let (recorder, Publics { root, issuer, leaf }) = showing(&origin).await;
    let mut found = [false; 3];
    for region in memory(recorder.id()) {
        // The provider keeps numbers as words, the least first.
        let mirrored = region
            .chunks_exact(8)
            .flat_map(|word| word.iter().rev().copied());
        let mirrored: Vec<u8> = mirrored.collect();
        for window in mirrored
            .windows(32)
            .step_by(8)
            .filter(|window| is_likely_key(window))
        {
            let words = window.chunks_exact(8).rev();
            let number: Vec<u8> = words.flatten().copied().collect();
            for point in [public_of(&number), public_of(window)]
                .into_iter()
                .flatten()
            {
                for (found, key) in found.iter_mut().zip([&root, &issuer, &leaf]) {
                    *found |= point == *key;
                }
            }
        }
    }
    assert_eq!(found, [false, true, true], "root, issuer, leaf");
    recorder.finish().await;
}

/// What a process can write to: heap, stacks, anonymous memory.
fn memory(pid: u32) -> Vec<Vec<u8>> {
    use std::os::unix::fs::FileExt as _;

    let maps = fs::read_to_string(format!("/proc/{pid}/maps")).expect("root may");
    let memory = fs::File::open(format!("/proc/{pid}/mem")).expect("root may");
    let mut regions: Vec<Vec<u8>> = Vec::new();
    let mut end_of_last = 0;
    for line in maps.lines() {
        let mut words = line.split_whitespace();
        let (range, mode) = (
            words.next().unwrap_or_default(),
            words.next().unwrap_or_default(),
        );
        let Some((from, to)) = range.split_once('-').filter(|_| mode.starts_with("rw")) else {
            continue;
        };
        let [from, to] = [from, to].map(|end| u64::from_str_radix(end, 16).expect("hex"));
        for at in (from..to).step_by(4096) {
            let mut page = vec![0; 4096];
            let is_read = memory.read_exact_at(&mut page, at).is_ok();
            if !is_read || page.iter().all(|byte| *byte == 0) {
                continue;
            }
            // A key may lie across the border of two pages.
            match regions.last_mut().filter(|_| end_of_last == at) {
                Some(region) => region.append(&mut page),
                None => regions.push(page),
            }
            end_of_last = at + 4096;
        }
    }
    regions
}
