//! Settings: where each comes from, which of them are mistakes; credentials; the module cache.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use rustix::fs::{FlockOperation, flock};

use super::*;

/// A setting's value and origin.
fn setting(told: &Told, name: &str) -> (String, String, String) {
    let mut settings = told.json["settings"].as_array().expect("a list").iter();
    let found = settings.find(|setting| setting["name"] == name);
    let found = found.unwrap_or_else(|| panic!("no {name}"));
    let text = |key: &str| found[key].as_str().unwrap_or_default().to_owned();
    (text("value"), text("origin"), text("from"))
}

#[test]
fn each_value_says_where_it_comes_from() {
    let (sandbox, origin) = (Sandbox::new(), Origin::start(well()));
    let file = sandbox.join("home/env");
    let written = "GOPROXY=https://written.example\nGOSUMDB=off\nGOPRIVATE=git.corp.example\n";
    fs::write(&file, written).expect("our own folder");
    let doctor = || {
        let mut doctor = to(&sandbox, &origin);
        doctor
            .env("GOENV", &file)
            .env("GOPROXY", "https://proxy.golang.org");
        doctor
            .env("https_proxy", "")
            .env_remove("GOSUMDB")
            .env_remove("GOTOOLCHAIN");
        doctor.env("no_proxy", "ana.example");
        doctor
    };
    let of = |value: &str, origin: &str, from: &str| (value.into(), origin.into(), from.into());
    // Without a go the same files are read.
    let mut runs = vec![(doctor(), "default", "")];
    for (release, origin) in [("1.19", "default"), ("1.27", "installation")] {
        let go = sandbox.go(release);
        let folder = go.and_then(|go| Some(go.parent()?.parent()?.join("go.env")));
        let from = folder.map_or_else(String::new, |file| text(&file).to_owned());
        let from = if origin == "default" { "" } else { from.leak() };
        runs.extend(with_go(doctor(), &sandbox, release).map(|doctor| (doctor, origin, from)));
    }
    for (command, kind, from) in runs {
        let told = Told::by(command);
        let value = setting(&told, "GOPROXY");
        assert_eq!(
            value,
            of("https://proxy.golang.org", "environment", "GOPROXY")
        );
        assert_eq!(
            setting(&told, "GOSUMDB"),
            of("off", "user-file", text(&file))
        );
        let value = setting(&told, "GONOPROXY");
        assert_eq!(value, of("git.corp.example", "setting", "GOPRIVATE"));
        let value = setting(&told, "NO_PROXY");
        assert_eq!(value, of("ana.example", "environment", "no_proxy"));
        assert_eq!(setting(&told, "HTTPS_PROXY"), of("", "default", ""));
        let (_, found, at) = setting(&told, "GOTOOLCHAIN");
        assert_eq!((&*found, &*at), (kind, from));
        told.is("setting", "GOSUMDB", "ok", "off: ");
        assert!(
            told.rows("request").len() == 1,
            "the checksum database is off"
        );
    }
}

#[test]
fn without_a_go_the_defaults_are_checked_and_that_is_said() {
    let (sandbox, origin) = (Sandbox::new(), Origin::start(well()));
    let mut doctor = to(&sandbox, &origin);
    doctor.env_remove("GOPROXY").env_remove("GOSUMDB");
    let told = Told::by(doctor);
    told.is("go", "go", "broken", "there is no go command on the PATH");
    told.is(
        "setting",
        "GOPROXY",
        "ok",
        "https://proxy.golang.org,direct (default)",
    );
    told.is("request", "https://sum.golang.org", "ok", "of 5");
    assert_eq!(
        (told.code, told.json["go_version"].clone()),
        (Some(1), Value::Null)
    );
}

#[test]
fn a_pattern_that_matches_nothing_is_broken_and_mended() {
    let (sandbox, origin) = (Sandbox::new(), Origin::start(well()));
    for (name, value, said, line) in [
        (
            "GOPRIVATE",
            "https://git.corp.example/",
            "has a scheme",
            "export GOPRIVATE=git.corp.example",
        ),
        (
            "GOPRIVATE",
            "git.corp.example, *.b.example",
            "a space",
            "export GOPRIVATE='git.corp.example,*.b.example'",
        ),
        (
            "GONOSUMDB",
            ".corp.example",
            "a dot",
            "export GONOSUMDB='*.corp.example'",
        ),
        ("GONOPROXY", "corp", "no dot", ""),
    ] {
        let mut doctor = to(&sandbox, &origin);
        doctor.env(name, value);
        let Some(doctor) = with_go(doctor, &sandbox, "1.27") else {
            return;
        };
        let told = Told::by(doctor);
        told.is("setting", name, "broken", said);
        assert_eq!((told.code, &*told.advice().0), (Some(1), line), "{value}");
    }
}

#[test]
fn credentials_are_those_that_go_would_send_and_are_never_shown() {
    let (sandbox, origin) = (Sandbox::new(), Origin::start(well()));
    let netrc = sandbox.join("home/.netrc");
    let path = text(&netrc).to_owned();
    let run_with = |content: &str, list: &str| {
        fs::write(&netrc, content).expect("our own folder");
        let mut doctor = to(&sandbox, &origin);
        doctor.env("GOPROXY", list).env("GOSUMDB", "off");
        let told = with_go(doctor, &sandbox, "1.27").map(Told::by);
        let sent = origin.requests().pop().and_then(|served| {
            let value = served.headers.get("authorization")?;
            Some(value.to_str().expect("text").to_owned())
        });
        (told, sent)
    };
    // ana:hunter2
    let basic = Some(String::from("Basic YW5hOmh1bnRlcjI="));
    let list = "https://proxy.golang.org";
    let (Some(told), sent) = run_with("machine proxy.golang.org login ana password hunter2", list)
    else {
        return;
    };
    assert_eq!(sent, basic);
    told.is("netrc", &path, "ok", "1 machine");
    let (told_of_url, sent) = run_with("", "https://ana:hunter2@proxy.golang.org");
    assert_eq!(sent, basic);
    for told in told_of_url.iter().chain([&told]) {
        assert!(!told.json.to_string().contains("hunter2"), "{}", told.json);
        assert_eq!(told.code, Some(0), "{:#?}", told.faults());
    }
    for machine in ["proxy.golang.org:443", "http://proxy.golang.org"] {
        let line = format!("machine {machine} login ana password hunter2");
        let (told, sent) = run_with(&line, list);
        assert_eq!(sent, None, "{machine}");
        let said =
            format!("`machine {machine}` is not used: go looks for `machine proxy.golang.org`");
        told.iter()
            .for_each(|told| told.is("netrc", &path, "broken", &said));
    }
    let (told, _) = run_with("machine proxy.golang.org login ana", list);
    told.iter()
        .for_each(|told| told.is("netrc", &path, "broken", "no login or no password"));
}

#[test]
fn a_list_of_proxies_that_go_reads_otherwise_is_told_and_mended() {
    let (sandbox, origin) = (Sandbox::new(), Origin::start(well()));
    let right = "export GOPROXY=https://proxy.golang.org,direct";
    for (list, state, said, line) in [
        (
            "https://proxy.golang.org;direct",
            "broken",
            "another separator",
            right,
        ),
        (
            "https://proxy.golang.org direct",
            "broken",
            "white space",
            right,
        ),
        (
            "\"https://proxy.golang.org,direct\"",
            "broken",
            "quotes",
            right,
        ),
        (
            "https://proxy.golang.org,,direct",
            "ok",
            "is empty: go passes it over",
            "",
        ),
        (
            "proxy.golang.org,direct",
            "ok",
            "has no scheme: go asks it over https",
            "",
        ),
        (
            "https://ana:hunter2@proxy.golang.org,direct",
            "ok",
            "in clear text",
            "",
        ),
        (
            "https://proxy.golang.org,direct,https://goproxy.cn",
            "ok",
            "go never asks it",
            "",
        ),
    ] {
        let mut doctor = to(&sandbox, &origin);
        doctor.env("GOPROXY", list);
        let Some(doctor) = with_go(doctor, &sandbox, "1.27") else {
            return;
        };
        let told = Told::by(doctor);
        told.is("setting", "GOPROXY", state, said);
        assert_eq!(told.advice().0, line, "{list}");
        assert_eq!(told.code, Some(i32::from(state == "broken")), "{list}");
        assert!(!told.json.to_string().contains("hunter2"), "{}", told.json);
    }
}

#[test]
fn what_is_no_file_is_named_and_not_waited_for() {
    let (sandbox, origin) = (Sandbox::new(), Origin::start(well()));
    let pipe = sandbox.join("pipe");
    let mode = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
    rustix::fs::mkfifoat(rustix::fs::CWD, &pipe, mode).expect("our own folder");
    for (netrc, said) in [
        (text(&pipe), "it is a pipe, not a file"),
        ("/dev/zero", "it is a device, not a file"),
    ] {
        let mut doctor = to(&sandbox, &origin);
        doctor.env("NETRC", netrc).env("GOENV", &pipe);
        doctor.env(
            "GOPROXY",
            format!("file://{},https://proxy.golang.org", text(&pipe)),
        );
        // Without a go, which would wait for the pipe.
        let told = Told::by(doctor);
        told.is("netrc", netrc, "broken", said);
        let folder = format!("file://{}", text(&pipe));
        told.is("folder", &folder, "broken", "cannot be read");
    }
}

#[test]
fn what_stands_behind_a_default_of_netrc_is_never_reached() {
    let (sandbox, origin) = (Sandbox::new(), Origin::start(well()));
    let netrc = sandbox.join("home/.netrc");
    let machine = "machine proxy.golang.org login ana password hunter2\n";
    for (before, is_sent) in [
        ("default\nlogin any password any\n", false),
        ("default login any password any\n", true),
    ] {
        fs::write(&netrc, format!("{before}{machine}")).expect("our own folder");
        let mut doctor = to(&sandbox, &origin);
        doctor
            .env("GOPROXY", "https://proxy.golang.org")
            .env("GOSUMDB", "off");
        let Some(doctor) = with_go(doctor, &sandbox, "1.27") else {
            return;
        };
        let told = Told::by(doctor);
        let (state, said) = match is_sent {
            true => ("ok", "and `default`, which go does not use"),
            false => ("broken", "`machine proxy.golang.org` is never reached"),
        };
        told.is("netrc", text(&netrc), state, said);
        let served = origin.requests().pop().expect("it was asked");
        let sent = served.headers.get("authorization").is_some();
        assert_eq!(sent, is_sent, "{before}");
    }
}

#[test]
fn a_part_of_the_module_cache_that_cannot_be_written_is_found() {
    let (sandbox, origin) = (Sandbox::new(), Origin::start(well()));
    let cache = sandbox.join("modcache");
    let folder = cache.join("cache/download/rsc.io/quote/@v");
    fs::create_dir_all(&folder).expect("our own folder");
    // Modules themselves are read-only: that is no fault.
    let module = cache.join("rsc.io/quote@v1.5.2");
    fs::create_dir_all(&module).expect("our own folder");
    let read_only = |path: &Path| {
        let mode = fs::Permissions::from_mode(0o555);
        fs::set_permissions(path, mode).expect("our own folder");
    };
    read_only(&module);
    let is_root = rustix::process::getuid().is_root();
    if is_root && !has_program("setpriv") {
        return skipped("doctor: root needs setpriv to be without its rights");
    }
    let doctor = || {
        let doctor = to(&sandbox, &origin);
        let mut command = match is_root {
            false => sandbox.command(doctor.get_program()),
            // Modes do not apply to root.
            true => {
                let without = "-dac_override,-dac_read_search";
                let mut command = sandbox.command("setpriv");
                command.args([
                    format!("--bounding-set={without}"),
                    format!("--inh-caps={without}"),
                ]);
                command.arg(doctor.get_program());
                command
            }
        };
        command.args(doctor.get_args()).env("GOMODCACHE", &cache);
        Told::by(command)
    };
    let told = doctor();
    assert_eq!(told.rows("module-cache").len(), 1);
    read_only(&folder);
    let told = doctor();
    told.is(
        "module-cache",
        text(&folder),
        "broken",
        "its mode does not allow it",
    );
    let line = format!("chmod u+rwX {}", text(&folder));
    assert_eq!(told.advice().0, line);
    let writable = fs::Permissions::from_mode(0o755);
    fs::set_permissions(&folder, writable.clone()).expect("our own folder");
    let lock = folder.join("v1.5.2.lock");
    fs::write(&lock, "").expect("our own folder");
    read_only(&lock);
    let told = doctor();
    told.is("module-cache", text(&lock), "broken", "cannot be written");
    // So that the sandbox can be removed by anybody.
    fs::set_permissions(&module, writable).expect("our own folder");
}

#[test]
fn the_module_cache_is_written_to_and_left_as_it_was() {
    let (sandbox, origin) = (Sandbox::new(), Origin::start(well()));
    let file = sandbox.join("file");
    fs::write(&file, "").expect("our own folder");
    let with_cache = |path: &Path| {
        let mut doctor = to(&sandbox, &origin);
        doctor.env("GOMODCACHE", path);
        with_go(doctor, &sandbox, "1.27").map(Told::by)
    };
    let Some(told) = with_cache(&file) else {
        return;
    };
    told.is("module-cache", text(&file), "broken", "it is not a folder");
    // In the home folder, which nobody else can write to.
    let other = sandbox.join("home/.cache/gomodcache");
    let line = format!("export GOMODCACHE={}", text(&other));
    assert_eq!(told.advice().0, line);
    let missing = sandbox.join("not/there");
    let told = with_cache(&missing).expect("a go");
    told.is(
        "module-cache",
        text(&missing),
        "ok",
        "not there yet, and can be made",
    );
    told.row("space", text(sandbox.path()));
    assert!(!missing.exists());
    let cache = sandbox.join("modcache");
    assert_eq!(fs::read_dir(&cache).expect("a folder").count(), 0);

    fs::create_dir(cache.join("cache")).expect("our own folder");
    let lock = fs::File::create(cache.join("cache/lock")).expect("our own folder");
    flock(&lock, FlockOperation::LockExclusive).expect("nobody else has it");
    let told = with_cache(&cache).expect("a go");
    let held = format!("cache/lock is held by pid {}", std::process::id());
    told.is("locks", text(&cache), "slow", &held);
    assert_eq!(told.code, Some(0));
}

#[test]
fn what_is_wrong_on_the_command_line_is_named() {
    let sandbox = Sandbox::new();
    for (line, code, said) in [
        (
            "doctor --resolve nonsense",
            2,
            "--resolve nonsense: expected HOST:PORT:ADDR",
        ),
        ("doctor --connect-to nonsense", 2, "--connect-to nonsense"),
        (
            "doctor --upstream-proxy ftp://a",
            2,
            "--upstream-proxy ftp://a",
        ),
        ("doctor --upstream-ca gone.pem", 3, "gone.pem"),
        ("doctor --jsn", 2, "--json"),
        ("doctor --upstrem-ca x", 2, "--upstream-ca"),
        ("doctor --stall-after 3s", 2, "--stall-after"),
        ("doctor now", 2, "now"),
        ("docter", 2, "doctor"),
    ] {
        let words = line.split(' ');
        let output = run(sandbox.modtape(words), LIMIT);
        assert_eq!(
            output.status.code(),
            Some(code),
            "{line}: {}",
            output.stderr
        );
        assert!(output.stderr.contains(said), "{line}: {}", output.stderr);
        assert_eq!(output.stdout, "", "{line}");
    }
}

#[test]
fn people_read_a_table_with_the_settings_on_request_and_the_line_at_its_end() {
    let (sandbox, origin) = (Sandbox::new(), Origin::start(well()));
    let page = |flags: &[&str]| {
        let mut doctor = to(&sandbox, &origin);
        doctor.env("GOPRIVATE", ".corp.example");
        let args: Vec<_> = doctor.get_args().filter(|arg| *arg != "--json").collect();
        let mut people = sandbox.command(tested());
        people
            .args(args)
            .args(flags)
            .env("GOPRIVATE", ".corp.example");
        run(people, LIMIT).stdout
    };
    let plain = page(&[]);
    assert!(plain.starts_with("STATE   CHECK "), "{plain}");
    assert!(plain.contains("\nbroken  setting "), "{plain}");
    let end = "\ntry:  export GOPRIVATE='*.corp.example'\n      \".corp.example\" has a pattern";
    assert!(
        plain.contains(end) && plain.contains(": 2 broken, "),
        "{plain}"
    );
    let verbose = page(&["-v"]);
    assert!(verbose.starts_with("SETTING "), "{verbose}");
    assert!(
        verbose.contains("GOPRIVATE      .corp.example "),
        "{verbose}"
    );
    assert!(verbose.contains("environment, GOPRIVATE\n"), "{verbose}");
    let quiet = page(&["-q"]);
    assert!(
        !quiet.contains("\nok ") && quiet.contains("\nbroken "),
        "{quiet}"
    );
}
