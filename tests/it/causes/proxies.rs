//! What module proxies do: give up, limit, answer slowly, and say 404 where they mean something else.

use std::time::Duration;

use super::modules::{Module, noise, serving};
use super::resolver::Name;
use super::run::{Ready, Run};
use super::world::{INTERNET, World};
use crate::support::*;

const MILLIS: fn(u64) -> Duration = Duration::from_millis;

/// A text that a proxy answers with 404, after so long, whatever is asked of the module `uuid`.
fn uuid_is_not_there(world: &World, delay: Duration, text: &str) -> Option<Origin> {
    let gone = Rule::when(|served| served.path.starts_with("/github.com/google/uuid/@v/v1.3.1"));
    let gone = gone.delay(delay).status(404).body(text.to_owned());
    let gone = gone.header("content-type", "text/plain; charset=utf-8");
    Some(world.internet("hello")?.rule(gone).start())
}

fn download(world: &World) -> Run<'_> {
    Run::go(world, &["mod", "download"]).env("GOPROXY", "https://proxy.golang.org")
}

#[test]
fn a_clone_that_timed_out_dressed_as_404() {
    World::stage(|world| {
        let text = "not found: github.com/google/uuid@v1.3.1: fetch timed out\n";
        let Some(_internet) = uuid_is_not_there(world, MILLIS(700), text) else {
            return;
        };
        let Some(both) = download(world).both() else {
            return;
        };
        assert_eq!(both.plain.code, 1);
        assert!(both.plain.stderr.contains("fetch timed out"));
        let names = ["proxy.golang.org", "github.com/google/uuid", "timed out"];
        both.recorded.first("MT123", "problem", &names);
    });
}

#[test]
fn a_version_that_the_proxy_does_not_know_yet() {
    World::stage(|world| {
        let text =
            "not found: github.com/google/uuid@v1.3.1: invalid version: unknown revision v1.3.1\n";
        let Some(_internet) = uuid_is_not_there(world, Duration::ZERO, text) else {
            return;
        };
        let Some(both) = download(world).both() else {
            return;
        };
        assert_eq!(both.plain.code, 1);
        assert!(both.plain.stderr.contains("unknown revision"));
        let names = ["proxy.golang.org", "github.com/google/uuid", "v1.3.1"];
        both.recorded.first("MT124", "problem", &names);
    });
}

/// `go mod download` of a project that requires a module which only its own network can read: the run,
/// what answers, and what that answers from.
fn a_private_module<'w>(world: &'w World, goprivate: &str) -> Option<(Run<'w>, Origin, Sandbox)> {
    let text = "not found: git.corp/team/lib@v1.0.0: invalid version: git ls-remote -q origin in \
        /tmp/gopath/pkg/mod/cache/vcs/0123456789abcdef: exit status 128:\n\tfatal: could not read \
        Username for 'https://git.corp': terminal prompts disabled\n\
        Confirm the import path was entered correctly.\n";
    let private = Rule::when(|served| served.path.starts_with("/git.corp/team/lib/"));
    let internet = world.internet("hello")?;
    let repositories = repository("git.corp/team/lib", 1000);
    let is_discovery = |served: &Served| served.raw_path.ends_with("?go-get=1");
    let leads =
        "<meta name=go-import content='git.corp/team/lib git https://git.corp/team/lib.git'>";
    let discovery = Rule::when(is_discovery).status(200).body(leads);
    let git = Rule::host("git.corp").git(repositories.path());
    let internet = internet.rule(private.status(404).body(text));
    let internet = internet.rule(discovery).rule(git).start();
    world.name("git.corp", Name::at([INTERNET]));
    let run = download(world).env("GOPRIVATE", goprivate);
    let run = run.prepare(|ready| require(&ready.sandbox, "git.corp/team/lib", "v1.0.0"));
    Some((run, internet, repositories))
}

#[test]
fn a_private_module_asked_of_a_public_proxy() {
    World::stage(|world| {
        let Some((run, _internet, _repositories)) = a_private_module(world, "") else {
            return;
        };
        let Some(both) = run.both() else { return };
        assert_eq!(both.plain.code, 1);
        assert!(both.plain.stderr.contains("could not read"));
        let names = ["git.corp/team/lib", "proxy.golang.org", "GOPRIVATE"];
        both.recorded.first("MT114", "problem", &names);
        run.as_hinted(&both.recorded).is_mended("MT114");
    });
}

/// The setting is there, and is not what its author thinks.
#[test]
fn a_private_module_whose_pattern_matches_nothing() {
    World::stage(|world| {
        let values = [
            "https://git.corp",
            " git.corp",
            "git.corp;git.home",
            "git.corp/...",
        ];
        for goprivate in &values[..count(1, values.len())] {
            let Some((run, internet, _repositories)) = a_private_module(world, goprivate) else {
                return;
            };
            let Some(both) = run.both() else { return };
            assert_eq!(both.plain.code, 1);
            let is_leaked = |path: &String| path.starts_with("/git.corp/team/lib/");
            assert!(internet.paths().iter().any(is_leaked), "{goprivate:?}");
            let names = [
                "git.corp/team/lib",
                "proxy.golang.org",
                "GOPRIVATE='git.corp",
            ];
            both.recorded.first("MT117", "problem", &names);
            run.as_hinted(&both.recorded).is_mended("MT117");
        }
    });
}

/// A version that nobody has tagged, of a module that is there.
#[test]
fn a_version_with_a_typing_error() {
    World::stage(|world| {
        let text = "not found: github.com/google/uuid@v1.31.0: invalid version: unknown revision v1.31.0\n";
        let wrong = Rule::when(|served| served.path.contains("/uuid/@v/v1.31.0"));
        let Some(internet) = world.internet("hello") else {
            return;
        };
        let _internet = internet.rule(wrong.status(404).body(text)).start();
        let run = Run::go(world, &["get", "github.com/google/uuid@v1.31.0"]);
        let run = run.env("GOPROXY", "https://proxy.golang.org");
        let Some(both) = run.both() else { return };
        assert_eq!(both.plain.code, 1);
        let names = [
            "proxy.golang.org",
            "github.com/google/uuid@v1.31.0",
            "list -m -versions",
        ];
        both.recorded.first("MT124", "problem", &names);
    });
}

/// Adds a requirement to the project.
fn require(sandbox: &Sandbox, module: &str, version: &str) {
    let file = sandbox.join("project/go.mod");
    let text = std::fs::read_to_string(&file).expect("there is a go.mod");
    let text = format!("{text}\nrequire {module} {version}\n");
    std::fs::write(&file, text).expect("our own folder");
}

#[test]
fn a_proxy_that_gives_up_on_the_checksum_database() {
    World::stage(|world| {
        let Some(mirror) = world.mirror("hello") else {
            return;
        };
        let gives_up = Rule::when(|served| served.path.contains("/lookup/"));
        let gives_up = gives_up.delay(MILLIS(1000)).status(500);
        let gives_up = gives_up.body("context deadline exceeded\n");
        let _internet = mirror.rule(gives_up).start();
        world.name("goproxy.corp", Name::at([INTERNET]));
        let run = download(world).env("GOPROXY", "https://goproxy.corp");
        let Some(both) = run.both() else { return };
        assert_eq!(both.plain.code, 1);
        assert!(both.plain.stderr.contains("500 Internal Server Error"));
        both.recorded
            .first("MT125", "problem", &["goproxy.corp", "1.0"]);
    });
}

/// A project that imports what its go.mod does not name: `list` is asked of each prefix.
fn tidy_without_requirements(world: &World) -> Run<'_> {
    let forget = |ready: &Ready<'_>| {
        let text = "module example.com/hello\n\ngo 1.18\n";
        std::fs::write(ready.sandbox.join("project/go.mod"), text).expect("our own folder");
    };
    Run::go(world, &["mod", "tidy"])
        .env("GOPROXY", "https://proxy.golang.org")
        .prepare(forget)
}

/// Of each module the version that the corpus has whole is the newest, and other paths are answered
/// after so long.
fn modules_and_probes(world: &World, delay: Duration) -> Option<Origin> {
    let newest = [
        ("/github.com/!burnt!sushi/toml/@v/list", "v1.3.2\n"),
        ("/github.com/google/uuid/@v/list", "v1.3.1\n"),
        ("/golang.org/x/sync/@v/list", "v0.3.0\n"),
    ];
    let is_probe = move |served: &Served| {
        let path = served.path.as_str();
        let is_module = newest.iter().any(|(module, _)| *module == path);
        (path.ends_with("/@v/list") || path.ends_with("/@latest")) && !is_module
    };
    let probes = Rule::when(is_probe).delay(delay);
    let probes = probes.status(404).body("not found\n");
    let internet = world.internet("hello")?.rule(probes);
    let list = |(path, body): (&str, &'static str)| Rule::suffix(path).body(body);
    let internet = newest
        .into_iter()
        .map(list)
        .fold(internet, OriginBuilder::rule);
    Some(internet.start())
}

#[test]
fn probes_of_prefixes_that_are_slow() {
    World::stage(|world| {
        let Some(_internet) = modules_and_probes(world, MILLIS(700)) else {
            return;
        };
        let Some(both) = tidy_without_requirements(world).both() else {
            return;
        };
        assert_eq!(both.plain.code, 0, "{}", both.plain.stderr);
        assert!(both.plain.took > MILLIS(1400));
        let names = ["proxy.golang.org", "github.com"];
        both.recorded.first("MT126", "slow", &names);
    });
}

#[test]
fn probes_of_prefixes_are_no_fault() {
    World::stage(|world| {
        let Some(_internet) = modules_and_probes(world, Duration::ZERO) else {
            return;
        };
        let Some(both) = tidy_without_requirements(world).both() else {
            return;
        };
        assert_eq!(both.plain.code, 0, "{}", both.plain.stderr);
        both.recorded.nothing();
    });
}

#[test]
fn a_list_that_is_slow() {
    World::stage(|world| {
        let Some(internet) = world.internet("hello") else {
            return;
        };
        let list = Rule::suffix("/github.com/google/uuid/@v/list").delay(MILLIS(2000));
        let _internet = internet.rule(list).start();
        let run = Run::go(
            world,
            &["list", "-m", "-versions", "github.com/google/uuid"],
        );
        let Some(both) = run.both() else { return };
        assert_eq!(both.plain.code, 0, "{}", both.plain.stderr);
        assert!(both.plain.took > MILLIS(2000));
        let names = ["proxy.golang.org", "github.com/google/uuid", "list"];
        both.recorded.first("MT127", "slow", &names);
    });
}

#[test]
fn errors_that_are_asked_twice() {
    World::stage(|world| {
        let text = "not found: github.com/google/uuid@v1.3.1: gone\n";
        let Some(internet) = uuid_is_not_there(world, MILLIS(500), text) else {
            return;
        };
        let Some(both) = download(world).both() else {
            return;
        };
        assert_eq!(both.plain.code, 1);
        let asked = |path: &&String| path.starts_with("/github.com/google/uuid/@v/v1.3.1.");
        assert_eq!(internet.paths().iter().filter(asked).count() % 4, 0);
        let report = both.recorded.codes();
        assert!(report.contains(&String::from("MT128")), "{report:?}");
    });
}

#[test]
fn too_many_requests() {
    World::stage(|world| {
        let Some(internet) = world.internet("hello") else {
            return;
        };
        let limited = Rule::suffix(".zip")
            .status(429)
            .body("rate limit exceeded\n");
        let _internet = internet.rule(limited.header("retry-after", "60")).start();
        let Some(both) = download(world).both() else {
            return;
        };
        assert_eq!(both.plain.code, 1);
        assert!(both.plain.stderr.contains("429 Too Many Requests"));
        both.recorded
            .first("MT122", "problem", &["proxy.golang.org", "429"]);
    });
}

#[test]
fn a_redirect_to_a_host_that_cannot_be_reached() {
    World::stage(|world| {
        let Some(internet) = world.internet("hello") else {
            return;
        };
        let zip = Rule::suffix("uuid/@v/v1.3.1.zip");
        let moved = zip.redirect("https://storage.googleapis.com/zips/uuid.zip?Signature=x");
        let _internet = internet.rule(moved).start();
        world.name("storage.googleapis.com", Name::at([super::world::REFUSING]));
        let Some(both) = download(world).in_other_words().both() else {
            return;
        };
        assert_eq!(both.plain.code, 1);
        assert!(both.plain.stderr.contains("connection refused"));
        let names = ["storage.googleapis.com", "github.com/google/uuid"];
        both.recorded.first("MT110", "problem", &names);
    });
}

#[test]
fn one_connection_a_request() {
    World::stage(|world| {
        let Some(internet) = world.internet("hello") else {
            return;
        };
        let slow = Handshake::any()
            .alpn(Alpn::Http1)
            .delay(MILLIS(250))
            .goaway_after(1);
        let _internet = internet.handshake(slow).start();
        let Some(both) = download(world).env("GOMAXPROCS", "16").both() else {
            return;
        };
        assert_eq!(both.plain.code, 0, "{}", both.plain.stderr);
        both.recorded.first("MT204", "slow", &["proxy.golang.org"]);
    });
}

#[test]
fn a_version_that_the_proxy_has_to_fetch_first() {
    World::stage(|world| {
        let Some(internet) = world.internet("hello") else {
            return;
        };
        let cold = Rule::suffix("uuid/@v/v1.3.1.zip").delay(MILLIS(2000));
        let _internet = internet.rule(cold).start();
        let Some(both) = download(world).both() else {
            return;
        };
        assert_eq!(both.plain.code, 0, "{}", both.plain.stderr);
        assert!(both.plain.took > MILLIS(2000));
        let names = ["proxy.golang.org", "github.com/google/uuid", "fetch"];
        both.recorded.first("MT121", "slow", &names);
    });
}

#[test]
fn credentials_that_a_private_proxy_wants() {
    World::stage(|world| {
        let Some(internet) = world.internet("hello") else {
            return;
        };
        let is_anonymous = |served: &Served| {
            let authorization = served.headers.get("authorization");
            // `ada:secret` in Base64.
            let is_known = authorization.is_some_and(|value| value == "Basic YWRhOnNlY3JldA==");
            served.host == "goproxy.corp" && !is_known
        };
        let wants = Rule::when(is_anonymous).status(401);
        let wants = wants.header("www-authenticate", "Basic realm=\"modules\"");
        let _internet = internet.rule(wants.body("who are you?\n")).start();
        world.name("goproxy.corp", Name::at([INTERNET]));
        let run = download(world).env("GOPROXY", "https://goproxy.corp");
        let Some(both) = run.both() else { return };
        assert_eq!(both.plain.code, 1);
        assert!(both.plain.stderr.contains("401 Unauthorized"));
        let names = ["goproxy.corp", "401", "netrc"];
        both.recorded.first("MT115", "problem", &names);
        let line = both.recorded.quoted("machine ");
        let line = line.replace("USER", "ada").replace("TOKEN", "secret");
        let netrc = |ready: &Ready<'_>| {
            let file = ready.sandbox.join("home/.netrc");
            std::fs::write(file, line + "\n").expect("our own folder");
        };
        run.recorded_after(netrc).is_mended("MT115");
    });
}

/// An inspecting box answers with a page of its own.
#[test]
fn a_page_in_place_of_a_file() {
    World::stage(|world| {
        let Some(internet) = world.internet("hello") else {
            return;
        };
        let page = "<!DOCTYPE html><html><title>Sign in to the network</title></html>\n";
        let portal = Rule::host("proxy.golang.org").status(200).body(page);
        let portal = portal.header("content-type", "text/html");
        let _internet = internet.rule(portal).start();
        let Some(both) = download(world).both() else {
            return;
        };
        assert_eq!(both.plain.code, 1);
        both.recorded
            .first("MT304", "problem", &["proxy.golang.org"]);
    });
}

/// One module is larger than all others, and comes over a slow line.
#[test]
fn a_large_zip() {
    World::stage(|world| {
        let large = Module {
            path: "gen.example/large",
            version: "v1.0.0",
            go_mod: "module gen.example/large\n\ngo 1.21\n",
        };
        let files = [("testdata/model.bin".to_owned(), noise(8_400_000))];
        let content = large.zipped(Content::default(), &files);
        let slow = Rule::suffix(".zip").trickle(84_000, MILLIS(45));
        let _internet = serving(world, content).rule(slow).start();
        let run = Run::go(world, &["mod", "download", "gen.example/large@v1.0.0"]);
        let Some(both) = run.env("GOSUMDB", "off").both() else {
            return;
        };
        assert_eq!(both.plain.code, 0, "{}", both.plain.stderr);
        assert!(both.plain.took > MILLIS(4400), "{:?}", both.plain.took);
        let names = ["gen.example/large v1.0.0", "8.4 MB", "proxy.golang.org"];
        both.recorded.first("MT132", "slow", &names);
    });
}

/// A script that tries again what cannot succeed: the failure is what there is to tell.
#[test]
fn a_script_that_tries_again_what_fails() {
    World::stage(|world| {
        let Some(internet) = world.internet("hello") else {
            return;
        };
        let broken = Rule::suffix("uuid/@v/v1.3.1.zip").status(502);
        let internet = internet.rule(broken.body("bad gateway\n")).start();
        let again = "n=0; until go mod download; do n=$((n+1)); test $n -lt 6 || exit 1; done";
        let run = Run::shell(world, again).env("GOPROXY", "https://proxy.golang.org");
        let Some(both) = run.both() else { return };
        assert_eq!(both.plain.code, 1);
        let zips = internet.paths();
        let zips = zips
            .iter()
            .filter(|path| path.ends_with("uuid/@v/v1.3.1.zip"));
        assert_eq!(zips.count(), 12);
        let names = ["proxy.golang.org", "502", "6 requests"];
        both.recorded.first("MT122", "problem", &names);
    });
}

/// A script, or the steps of a container's build, in which no step finds what the one before had
/// downloaded.
#[test]
fn a_script_that_downloads_all_anew_each_time() {
    World::stage(|world| {
        let Some(internet) = world.internet("hello") else {
            return;
        };
        let far = Rule::any().delay(MILLIS(60));
        let _internet = internet.rule(far).start();
        let anew = "for n in 1 2 3 4 5 6; do GOMODCACHE=$TMPDIR/$n GOFLAGS=-modcacherw go mod download || exit; done";
        let run = Run::shell(world, anew);
        let Some(both) = run.both() else { return };
        assert_eq!(both.plain.code, 0, "{}", both.plain.stderr);
        let names = ["up to 6 times", "GOMODCACHE"];
        both.recorded.first("MT211", "slow", &names);
    });
}

/// The pattern names the domain, and the module is on a host below it.
#[test]
fn a_private_module_whose_pattern_lacks_a_star() {
    World::stage(|world| {
        let Some((run, internet, _repositories)) = a_private_module(world, "corp") else {
            return;
        };
        let Some(both) = run.both() else { return };
        assert_eq!(both.plain.code, 1);
        let is_leaked = |path: &String| path.starts_with("/git.corp/team/lib/");
        assert!(internet.paths().iter().any(is_leaked));
        let names = ["git.corp/team/lib", "GOPRIVATE has corp", "*.corp"];
        both.recorded.first("MT114", "problem", &names);
        // What the hint says: the module comes from its own repository, and nobody is asked about it.
        let asked = internet.paths().len();
        let helped = run.env("GOPRIVATE", "*.corp").plain();
        assert_eq!(helped.expect("go is there").code, 0);
        let paths = internet.paths().split_off(asked);
        assert!(!paths.iter().any(is_leaked), "{paths:?}");
    });
}
