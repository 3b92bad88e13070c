//! What go does or waits for on this machine, while no request is in flight.

use std::cell::RefCell;
use std::path::PathBuf;
use std::time::Duration;

use super::modules::{Module, serving};
use super::run::{Ready, Run};
use super::world::World;
use crate::support::*;

/// Another go holds the lock of a module: it waits for a server.
#[test]
fn a_module_cache_that_another_go_holds() {
    World::stage(|world| {
        let Some(internet) = world.internet("hello") else {
            return;
        };
        let zip = "/github.com/google/uuid/@v/v1.3.1.zip";
        // Silent once for the first go of each of the three runs.
        let internet = internet.rule(Rule::suffix(zip).silent().times(3)).start();
        let run = Run::go(world, &["mod", "download", "github.com/google/uuid@v1.3.1"]);
        let others = RefCell::new(Vec::new());
        let asked = |log: &Log, count: usize| {
            log.requests
                .iter()
                .filter(|served| served.path == zip)
                .count()
                == count
        };
        let hold = |ready: &Ready<'_>| {
            let mut others = others.borrow_mut();
            let other = ready.go(&["mod", "download", "github.com/google/uuid@v1.3.1"]);
            others.push(Spawned::start(other));
            internet.wait_for(|log| asked(log, others.len()), LIMIT);
        };
        let run = run.prepare(hold);
        let names = ["lock", "go mod download", "GOMODCACHE"];
        if run.hangs(|| (), "MT207", &names).is_none() {
            return;
        }
        internet.wait_for(|log| asked(log, 2), LIMIT);
        let own = Sandbox::new();
        let cache = own.join("modcache").display().to_string();
        run.recorded_with("GOMODCACHE", &cache).is_mended("MT207");
    });
}

/// A module of so many small files.
fn of_many_files(files: usize) -> Content {
    let module = Module {
        path: "gen.example/many",
        version: "v1.0.0",
        go_mod: "module gen.example/many\n\ngo 1.21\n",
    };
    let files = (0..files).map(|n| {
        (
            format!("p{}/f{n}.go", n % 50),
            format!("package p // {n}\n").into_bytes(),
        )
    });
    module.zipped(Content::default(), &files.collect::<Vec<_>>())
}

fn download_it(world: &World) -> Run<'_> {
    Run::go(world, &["mod", "download", "gen.example/many@v1.0.0"]).env("GOSUMDB", "off")
}

/// A scanner looks at each file before go may open it.
#[test]
fn a_scanner_that_watches_the_module_cache() {
    World::stage(|world| {
        let _internet = serving(world, of_many_files(600)).start();
        let scanners = RefCell::new(Vec::new());
        let scan = |ready: &Ready<'_>| {
            let scanner = Scanner::watch(&ready.sandbox, "modcache");
            scanners.borrow_mut().push(scanner);
        };
        if !Scanner::can_be() {
            return;
        }
        let Some(both) = download_it(world).prepare(scan).both() else {
            return;
        };
        assert_eq!(both.plain.code, 0, "{}", both.plain.stderr);
        let slow = both.plain.took;
        assert!(slow > Duration::from_secs(4), "{slow:?}");
        let names = ["go mod download", "virus scanner", "GOMODCACHE"];
        both.recorded.first("MT206", "slow", &names);
        let elsewhere = "GOMODCACHE=$TMPDIR/elsewhere go mod download gen.example/many@v1.0.0";
        let elsewhere = Run::shell(world, elsewhere).env("GOSUMDB", "off");
        let helped = elsewhere.prepare(scan).plain().expect("go is there");
        assert!(helped.took * 2 < slow, "{:?}", helped.took);
    });
}

/// The same with a machine to itself: it takes its time, and no fault.
#[test]
#[ignore = "unpacks 30,000 files twice; in tests/long"]
fn a_module_of_many_files() {
    World::stage(|world| {
        let _internet = serving(world, of_many_files(30_000)).start();
        let Some(both) = download_it(world).both() else {
            return;
        };
        assert_eq!(both.plain.code, 0, "{}", both.plain.stderr);
        both.recorded.nothing();
        both.recorded
            .first("MT210", "note", &["go mod download", "CPU"]);
    });
}

/// A virus scanner of fanotify(7) kind, which takes its time for each file of a folder.
struct Scanner {
    _running: Spawned,
    folder: PathBuf,
}

impl Scanner {
    /// Whether there can be one, which takes root's rights and Python.
    fn can_be() -> bool {
        let mut python = program("python3");
        let output = python.args(["-c", SCAN, "/"]).arg("try").output();
        let can_be = output.is_ok_and(|output| output.status.success());
        if !can_be {
            skipped("no fanotify permission events here");
        }
        can_be
    }

    fn watch(sandbox: &Sandbox, folder: &str) -> Self {
        let folder = sandbox.join(folder);
        let mount = |args: &[&str]| {
            let mut mount = program("mount");
            mount.args(args).arg(&folder);
            run(mount, LIMIT).expect_success();
        };
        mount(&["-t", "tmpfs", "tmpfs"]);
        let mut python = program("python3");
        python.args(["-c", SCAN]).arg(&folder);
        let running = Spawned::start(python);
        running.wait_for_stdout("ready");
        Self {
            _running: running,
            folder,
        }
    }
}

impl Drop for Scanner {
    fn drop(&mut self) {
        // While it is mounted, the sandbox cannot remove its folder.
        let _ = program("umount").arg("-l").arg(&self.folder).status();
    }
}

/// Marks a mount, and allows each opening of a file after 8 ms.
const SCAN: &str = r#"
import ctypes, os, struct, sys, time
FAN_CLASS_CONTENT, FAN_MARK_ADD, FAN_MARK_MOUNT, FAN_OPEN_PERM, FAN_ALLOW = 4, 1, 16, 0x10000, 1
libc = ctypes.CDLL(None, use_errno=True)
fan = libc.fanotify_init(FAN_CLASS_CONTENT, os.O_RDONLY)
folder = os.open(sys.argv[1], os.O_RDONLY)
mask = ctypes.c_uint64(FAN_OPEN_PERM if len(sys.argv) < 3 else 1 << 1)
if fan < 0 or libc.fanotify_mark(fan, FAN_MARK_ADD | FAN_MARK_MOUNT, mask, folder, None) < 0:
    sys.exit(os.strerror(ctypes.get_errno()))
if len(sys.argv) > 2:
    sys.exit(0)
print("ready", flush=True)
while True:
    events = os.read(fan, 4096)
    while events:
        length, _, _, _, _, file, _ = struct.unpack_from("IBBHQii", events)
        time.sleep(0.008)
        os.write(fan, struct.pack("iI", file, FAN_ALLOW))
        os.close(file)
        events = events[length:]
"#;
