//! Several servers that share a Redis: what one of them has fetched the others do not fetch, and what becomes of Redis
//! or of one of them holds nobody up.

use std::path::PathBuf;
use std::process::Command;
use std::thread;
use std::time::Duration;

use modtape::clock::{Clock, Timestamp};

use super::purges::until_purged;
use super::store::{Bucket, PLACE};
use super::*;

const PROXY: &str = "https://proxy.golang.org";
const MOD: &str = "/github.com/!burnt!sushi/toml/@v/v1.3.2.mod";
const ALONE: &str = "https://a.example";

/// Debian's redis-server, on a socket in a folder.
pub(super) struct Server {
    redis: Spawned,
    socket: PathBuf,
}

impl Server {
    /// Starts one; `None`, with a line on stderr, where there is none.
    pub(super) fn start(sandbox: &Sandbox) -> Option<Self> {
        if !has_program("redis-server") {
            skipped("replicas: there is no redis-server");
            return None;
        }
        let socket = sandbox.join("redis.sock");
        let mut command = sandbox.command("redis-server");
        command
            .args(["--port", "0", "--save", "", "--dir"])
            .arg(sandbox.path());
        command.arg("--unixsocket").arg(&socket);
        let redis = Spawned::start(command);
        redis.wait_for_stdout("eady to accept connections");
        Some(Self { redis, socket })
    }

    pub(super) fn url(&self) -> String {
        format!("redis+unix://{}", self.socket.display())
    }

    /// Runs a command, and gives what it says.
    fn run<T: redis::FromRedisValue>(&self, words: &[&str]) -> T {
        let client = redis::Client::open(self.url()).expect("a URL");
        let mut connection = client.get_connection().expect("it listens");
        let mut command = redis::cmd(words[0]);
        for word in &words[1..] {
            command.arg(word);
        }
        command.query(&mut connection).expect("it answers")
    }
}

/// A server with a store of its own.
fn replica(sandbox: &Sandbox, origin: &Origin, goproxy: &str, url: &str) -> Serving {
    let flags = ["--redis", url, "--no-ahead", "-v"];
    Serving::start(sandbox, origin, goproxy, &flags)
}

/// How long something takes.
fn timed<T>(what: impl FnOnce() -> T) -> (T, Duration) {
    let began = Clock::start();
    let done = what();
    (done, began.now().since(Timestamp::default()))
}

fn list_of(module: &str) -> String {
    format!("/a.example/{module}/@v/list")
}

/// An origin that has every list.
fn lists(text: &str) -> Origin {
    let begin = Origin::builder(Content::default());
    lists_but(begin, text)
}

/// The same behind other rules.
fn lists_but(begin: OriginBuilder, text: &str) -> Origin {
    begin
        .rule(Rule::suffix("/@v/list").status(200).body(text.to_owned()))
        .start()
}

#[test]
fn what_changes_and_what_is_not_there_is_asked_for_by_one_of_them() {
    let (one, other) = (Sandbox::new(), Sandbox::new());
    let Some(server) = Server::start(&one) else {
        return;
    };
    let origin = lists("v1.0.0\n");
    let a = replica(&one, &origin, ALONE, &server.url());
    let b = replica(&other, &origin, ALONE, &server.url());
    let list = list_of("x");
    assert_eq!(a.get(&list).tier(), "miss");
    let answer = b.get(&list);
    assert_eq!((answer.status, answer.tier()), (200, "redis"), "{answer:?}");
    assert_eq!(answer.text(), "v1.0.0\n");
    assert_eq!(b.get(&list).tier(), "memory");
    assert_eq!(asked(&origin, &list), 1);
    // There is no such thing.
    for absent in ["/a.example/x/@latest", "/a.example/x/@v/v1.0.0.mod"] {
        assert_eq!(a.get(absent).status, 404);
        let answer = b.get(absent);
        assert_eq!(answer.status, 404, "{answer:?}");
        assert_eq!(b.get(absent).tier(), "memory");
        assert_eq!(asked(&origin, absent), 1);
    }
    assert!(get(a.address, "/readyz").text().contains("redis: ok"));
    a.end();
    b.end();
}

#[test]
fn thirty_clients_of_two_replicas_are_one_request_upstream() {
    let Some(content) = Content::corpus("hello", Sumdb::Heads) else {
        return;
    };
    let (one, other) = (Sandbox::new(), Sandbox::new());
    let Some(server) = Server::start(&one) else {
        return;
    };
    let slow = Rule::suffix(MOD).delay(Duration::from_millis(400));
    let origin = Origin::builder(content).rule(slow).start();
    let a = replica(&one, &origin, PROXY, &server.url());
    let b = replica(&other, &origin, PROXY, &server.url());
    let folder = corpus_folder("hello").expect("the project is there");
    let expected = std::fs::read(folder.join("proxy").join(&MOD[1..])).expect("it is there");
    thread::scope(|scope| {
        let clients: Vec<_> = (0..30)
            .map(|number| {
                let address = if number % 2 == 0 {
                    a.address
                } else {
                    b.address
                };
                scope.spawn(move || get(address, MOD))
            })
            .collect();
        for client in clients {
            let answer = client.join().expect("no panic");
            assert_eq!(
                (answer.status, answer.body == expected),
                (200, true),
                "{answer:?}"
            );
        }
    });
    for path in origin.paths() {
        // Each asks by itself who answers for the checksum database.
        if !path.ends_with("/supported") {
            assert_eq!(asked(&origin, &path), 1, "{path}");
        }
    }
    assert_eq!(asked(&origin, MOD), 1);
    a.end();
    b.end();
}

#[test]
fn a_replica_that_is_killed_costs_its_lease_and_no_more() {
    let (one, other) = (Sandbox::new(), Sandbox::new());
    let Some(server) = Server::start(&one) else {
        return;
    };
    let list = list_of("x");
    let silent = Rule::suffix(&list).times(1).silent();
    let origin = lists_but(Origin::builder(Content::default()).rule(silent), "v1.0.0\n");
    let a = replica(&one, &origin, ALONE, &server.url());
    let b = replica(&other, &origin, ALONE, &server.url());
    thread::scope(|scope| {
        let first = scope.spawn(|| get(a.address, &list));
        origin.wait_for(|log| log.requests.iter().any(|it| it.path == list), LIMIT);
        let second = scope.spawn(|| timed(|| get(b.address, &list)));
        // B waits, and asks nobody.
        thread::sleep(Duration::from_millis(500));
        assert_eq!(asked(&origin, &list), 1);
        a.modtape.signal(Signal::KILL);
        let (answer, took) = second.join().expect("no panic");
        assert_eq!((answer.status, &*answer.text()), (200, "v1.0.0\n"));
        assert!(took < Duration::from_secs(7), "{took:?}");
        assert!(first.join().expect("no panic").status == 0);
    });
    assert_eq!(asked(&origin, &list), 2);
    b.end();
}

#[test]
fn what_one_of_them_could_not_fetch_those_who_wait_do_not_ask_for_in_turn() {
    let (one, other) = (Sandbox::new(), Sandbox::new());
    let Some(server) = Server::start(&one) else {
        return;
    };
    let list = list_of("x");
    let broken = Rule::suffix(&list).delay(Duration::from_millis(500));
    let broken = broken.status(500).body("broken\n");
    let origin = lists_but(Origin::builder(Content::default()).rule(broken), "v1.0.0\n");
    let a = replica(&one, &origin, ALONE, &server.url());
    let b = replica(&other, &origin, ALONE, &server.url());
    thread::scope(|scope| {
        let first = scope.spawn(|| get(a.address, &list));
        origin.wait_for(|log| log.requests.iter().any(|it| it.path == list), LIMIT);
        let second = scope.spawn(|| get(b.address, &list));
        let [first, second] = [first, second].map(|it| it.join().expect("no panic"));
        assert_eq!((first.status, second.status), (502, 502), "{second:?}");
        assert_eq!(first.text(), second.text());
    });
    assert_eq!(asked(&origin, &list), 1);
    // Whoever comes later asks anew.
    origin.clear_rules();
    origin.add_rule(Rule::suffix("/@v/list").status(200).body("v1.1.0\n"));
    assert_eq!(b.get(&list).text(), "v1.1.0\n");
    a.end();
    b.end();
}

#[test]
fn whoever_was_away_while_others_fetched_changes_nothing() {
    let (one, other) = (Sandbox::new(), Sandbox::new());
    let Some(server) = Server::start(&one) else {
        return;
    };
    let list = list_of("x");
    let old = Rule::suffix(&list)
        .times(1)
        .delay(Duration::from_millis(500));
    let old = old.status(200).body("v1.0.0\n");
    let origin = lists_but(Origin::builder(Content::default()).rule(old), "v1.1.0\n");
    let a = replica(&one, &origin, ALONE, &server.url());
    let b = replica(&other, &origin, ALONE, &server.url());
    thread::scope(|scope| {
        let first = scope.spawn(|| get(a.address, &list));
        origin.wait_for(|log| log.requests.iter().any(|it| it.path == list), LIMIT);
        a.modtape.signal(Signal::STOP);
        let answer = get(b.address, &list);
        assert_eq!(answer.text(), "v1.1.0\n");
        a.modtape.signal(Signal::CONT);
        assert_eq!(first.join().expect("no panic").text(), "v1.0.0\n");
    });
    a.modtape.wait_for_stderr("is not shared");
    let key = format!("modtape:1:answer:{}", &list[1..]);
    let value: String = server.run(&["HGET", &key, "value"]);
    assert!(value.ends_with("\nv1.1.0\n"), "{value}");
    a.end();
    b.end();
}

#[test]
fn a_redis_that_is_silent_or_away_holds_nobody_up_and_is_used_again() {
    let (one, other) = (Sandbox::new(), Sandbox::new());
    let Some(server) = Server::start(&one) else {
        return;
    };
    let origin = lists("v1.0.0\n");
    let url = server.url();
    let a = replica(&one, &origin, ALONE, &url);
    let b = replica(&other, &origin, ALONE, &url);
    assert_eq!(a.get(&list_of("before")).status, 200);
    assert_eq!(b.get(&list_of("before")).tier(), "redis");
    let both_answer = |name: &str| {
        for (number, replica) in [&a, &b].into_iter().enumerate() {
            for again in 0..3 {
                let list = list_of(&format!("{name}{number}{again}"));
                let (answer, took) = timed(|| replica.get(&list));
                assert_eq!(answer.status, 200, "{answer:?}");
                assert!(took < Duration::from_secs(3), "{name}: {took:?}");
            }
        }
    };
    let is_shared_again = |name: &str| {
        let shared = (0..300).any(|number| {
            thread::sleep(Duration::from_millis(100));
            let list = list_of(&format!("{name}{number}"));
            a.get(&list);
            b.get(&list).tier() == "redis"
        });
        assert!(shared, "{name}");
    };
    server.redis.signal(Signal::STOP);
    both_answer("stopped");
    assert!(get(a.address, "/readyz").text().contains("redis: left out"));
    assert_eq!(get(a.address, "/readyz").status, 200);
    server.redis.signal(Signal::CONT);
    is_shared_again("continued");
    drop(server);
    both_answer("killed");
    let server = Server::start(&one).expect("it has run before");
    assert_eq!(server.url(), url);
    is_shared_again("restarted");
    for replica in [a, b] {
        let said = replica.end().stderr;
        // Once for each time that it was away, however many requests there were.
        assert_eq!(said.matches("is left out").count(), 2, "{said}");
        assert_eq!(said.matches("is used again").count(), 2, "{said}");
    }
}

#[test]
fn a_client_that_leaves_takes_no_connection_to_redis_with_it() {
    let sandbox = Sandbox::new();
    let Some(server) = Server::start(&sandbox) else {
        return;
    };
    let origin = lists("v1.0.0\n");
    let a = replica(&sandbox, &origin, ALONE, &server.url());
    assert_eq!(a.get(&list_of("x")).status, 200);
    // Those of the server: one for answers, and one on which it hears purges.
    let connections = || {
        let list: String = server.run(&["CLIENT", "LIST"]);
        let of_server = list.lines().filter(|line| !line.contains("cmd=client"));
        let ids = of_server.filter_map(|line| line.split(' ').next().map(str::to_owned));
        ids.collect::<Vec<_>>()
    };
    let before = connections();
    assert_eq!(before.len(), 2, "{before:?}");
    for number in 0..10 {
        // Redis answers later than the client waits, and sooner than it would be left out.
        let _: String = server.run(&["CLIENT", "PAUSE", "100", "ALL"]);
        let mut client = TcpStream::connect(a.address).expect("it listens");
        let path = list_of(&format!("left{number}"));
        let head = format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n");
        client.write_all(head.as_bytes()).expect("it reads");
        thread::sleep(Duration::from_millis(20));
        drop(client);
        assert_eq!(a.get(&list_of("x")).status, 200);
        assert_eq!(a.get(&list_of(&format!("y{number}"))).status, 200);
    }
    assert_eq!(connections(), before);
    assert!(!a.end().stderr.contains("is left out"));
}

#[test]
fn what_came_while_redis_was_waited_for_is_not_fetched_again() {
    let sandbox = Sandbox::new();
    let Some(server) = Server::start(&sandbox) else {
        return;
    };
    let origin = lists("v1.0.0\n");
    let a = replica(&sandbox, &origin, ALONE, &server.url());
    assert_eq!(a.get(&list_of("x")).status, 200);
    server.redis.signal(Signal::STOP);
    let list = list_of("y");
    thread::scope(|scope| {
        // The second one gives Redis up when the first one's answer has long been here.
        let first = scope.spawn(|| get(a.address, &list));
        thread::sleep(Duration::from_millis(150));
        let second = scope.spawn(|| get(a.address, &list));
        for client in [first, second] {
            assert_eq!(client.join().expect("no panic").text(), "v1.0.0\n");
        }
    });
    server.redis.signal(Signal::CONT);
    assert_eq!(asked(&origin, &list), 1);
    a.end();
}

#[test]
fn garbage_is_no_answer_and_is_said_once() {
    let sandbox = Sandbox::new();
    let Some(server) = Server::start(&sandbox) else {
        return;
    };
    let origin = lists("v1.0.0\n");
    let a = replica(&sandbox, &origin, ALONE, &server.url());
    let far = "99999999999999";
    for (name, words) in [
        ("x", &["HSET", "", "at", far, "value", "{}\nv6.6.6\n"][..]),
        ("y", &["HSET", "", "at", "nonsense", "value", "v6.6.6\n"]),
        ("z", &["SET", "", "v6.6.6\n"]),
    ] {
        let list = list_of(name);
        let key = format!("modtape:1:answer:{}", &list[1..]);
        let mut words = words.to_vec();
        words[1] = &key;
        let _: redis::Value = server.run(&words);
        let (answer, took) = timed(|| a.get(&list));
        assert_eq!((answer.status, &*answer.text()), (200, "v1.0.0\n"));
        assert!(took < Duration::from_secs(3), "{took:?}");
    }
    let said = a.end().stderr;
    assert_eq!(
        said.matches("others like it are not told").count(),
        1,
        "{said}"
    );
    assert!(!said.contains("is left out"), "{said}");
}

#[test]
fn what_is_no_redis_is_left_out_and_passwords_are_in_no_line() {
    let origin = lists("v1.0.0\n");
    let other = Background::listen("garbage", |mut stream| async move {
        use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
        let mut asked = [0; 1024];
        while matches!(stream.read(&mut asked).await, Ok(1..)) {
            if stream
                .write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n")
                .await
                .is_err()
            {
                break;
            }
        }
    });
    for url in [
        format!("redis://:hidden-word@{}", other.addr()),
        format!("rediss://user:hidden-word@{}", other.addr()),
        String::from("redis://:hidden-word@127.0.0.1:1/3"),
    ] {
        let sandbox = Sandbox::new();
        let a = replica(&sandbox, &origin, ALONE, &url);
        for name in ["x", "y"] {
            let (answer, took) = timed(|| a.get(&list_of(name)));
            assert_eq!(answer.status, 200, "{answer:?}");
            assert!(took < Duration::from_secs(3), "{url}: {took:?}");
        }
        let said = a.end().stderr;
        assert!(said.contains("is left out"), "{said}");
        assert!(!said.contains("hidden-word"), "{said}");
    }
    let sandbox = Sandbox::new();
    for url in [
        "http://:hidden-word@a.example",
        "redis://",
        "rediss://a.example#insecure",
    ] {
        let refused = sandbox.modtape(["serve", "--redis", url, "--store", "store"]);
        let refused = run(refused, LIMIT);
        assert_eq!(refused.status.code(), Some(125), "{}", refused.stderr);
        assert!(refused.stderr.contains("--redis"), "{}", refused.stderr);
        assert!(
            !refused.stderr.contains("hidden-word"),
            "{}",
            refused.stderr
        );
    }
}

#[test]
fn a_purge_reaches_every_replica_and_those_that_were_away() {
    let (one, other, away) = (Sandbox::new(), Sandbox::new(), Sandbox::new());
    let Some(server) = Server::start(&one) else {
        return;
    };
    let origin = lists("v1.0.0\n");
    let (list, url) = (list_of("x"), server.url());
    let a = replica(&one, &origin, ALONE, &url);
    let b = replica(&other, &origin, ALONE, &url);
    let c = replica(&away, &origin, ALONE, &url);
    for replica in [&a, &b, &c] {
        assert_eq!(replica.get(&list).status, 200);
        assert_eq!(replica.get(&list_of("x/y")).status, 200);
    }
    c.end();
    origin.clear_rules();
    origin.add_rule(Rule::suffix("/@v/list").status(200).body("v1.1.0\n"));
    let mut purge: Command = other.modtape(["cache", "purge", "a.example/x", "--json"]);
    purge.env("MODTAPE_REDIS", &url);
    let purged = run(purge, LIMIT).expect_success();
    let json: serde_json::Value = serde_json::from_str(&purged.stdout).expect("JSON");
    assert_eq!(
        json["places"][0]["removed"][0]["path"],
        &list[1..],
        "{json}"
    );
    let c = replica(&away, &origin, ALONE, &url);
    for replica in [&a, &b, &c] {
        assert_eq!(until_purged(replica, &list).text(), "v1.1.0\n");
        assert_eq!(replica.get(&list_of("x/y")).text(), "v1.0.0\n");
    }
    assert_eq!(asked(&origin, &list), 2);
    for replica in [a, b, c] {
        replica.end();
    }
}

/// What becomes of a round.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Trouble {
    None,
    ReplicaKilled,
    RedisStopped,
    RedisRestarted,
    StoreStopped,
}

const TROUBLES: [Trouble; 6] = [
    Trouble::None,
    Trouble::ReplicaKilled,
    Trouble::RedisStopped,
    Trouble::None,
    Trouble::StoreStopped,
    Trouble::RedisRestarted,
];

/// The paths of a round, and what they have.
fn things(round: usize) -> [(String, String); 3] {
    let folder = format!("/a.example/m{round}/@v");
    let info = r#"{"Version":"v1.0.0","Time":"2026-01-01T00:00:00Z"}"#;
    [
        (format!("{folder}/list"), format!("v1.0.{round}\n")),
        (
            format!("{folder}/v1.0.0.mod"),
            format!("module a.example/m{round}\n"),
        ),
        (format!("{folder}/v1.0.0.info"), info.to_owned()),
    ]
}

#[test]
fn ninety_clients_of_three_replicas_get_right_answers_whatever_becomes_of_the_tiers() {
    let folder = Sandbox::new();
    let Some(mut server) = Server::start(&folder) else {
        return;
    };
    let bucket = Bucket::start();
    let rounds = count(6, 200);
    // Some more, to find out whether a tier is used again.
    let all: Vec<_> = (0..rounds * 400).flat_map(things).collect();
    let files = all.iter().map(|(path, body)| {
        (
            ("a.example", path.as_str()),
            (200, "text/plain", body.clone()),
        )
    });
    let slow = Rule::any().delay(Duration::from_millis(200));
    let origin = Origin::builder(Content::files(files)).rule(slow).start();
    let sandboxes = [Sandbox::new(), Sandbox::new(), Sandbox::new()];
    let url = server.url();
    let start = |sandbox: &Sandbox| {
        let everywhere = format!("::127.0.0.1:{}", origin.addr().port());
        let mut command = sandbox.modtape(["serve", "--listen", "127.0.0.1:0", "--store", "store"]);
        command.args([
            "--connect-to",
            &everywhere,
            "--upstream",
            ALONE,
            "--redis",
            &url,
        ]);
        command.arg("--upstream-ca").arg(origin.root_pem_path());
        command
            .arg("--no-ahead")
            .env("GOSUMDB", "off")
            .current_dir(sandbox.path());
        if let Some(bucket) = &bucket {
            command.args(["--store", PLACE]);
            bucket.env(&mut command);
        }
        Serving::told(Spawned::start(command))
    };
    let mut replicas: Vec<_> = sandboxes.iter().map(start).collect();
    // On a machine that is busy for longer than Redis may take, Redis is left out as if it were away.
    let left_out = |replicas: &[Serving]| {
        let said = replicas.iter().map(|it| it.modtape.wait_for_stderr(""));
        let is_told = |line: &&str| line.contains("Redis (") && line.contains("is left out");
        said.map(|said| said.lines().filter(is_told).count())
            .sum::<usize>()
    };
    let (mut spare, mut calm) = (rounds, 0);
    for round in 0..rounds {
        let trouble = TROUBLES[round % TROUBLES.len()];
        // Each asks for something new until it has found what it has left out.
        for replica in &replicas {
            let is_well = (0..300).any(|_| {
                replica.get(&things(spare)[0].0);
                replica.get(&things(spare)[1].0);
                spare += 1;
                !replica.get("/readyz").text().contains("left out")
            });
            assert!(is_well, "{round}: {}", replica.get("/readyz").text());
        }
        match (trouble, &bucket) {
            (Trouble::RedisStopped, _) => server.redis.signal(Signal::STOP),
            (Trouble::RedisRestarted, _) => server.redis.signal(Signal::KILL),
            (Trouble::StoreStopped, Some(bucket)) => bucket.server.signal(Signal::STOP),
            _ => {}
        }
        let left_out_before = left_out(&replicas);
        let things = things(round);
        thread::scope(|scope| {
            let clients: Vec<_> = (0..90)
                .map(|number| {
                    let address = replicas[number % 3].address;
                    let (path, body) = &things[number / 3 % 3];
                    let client = scope.spawn(move || timed(|| get(address, path)));
                    (client, number % 3, body)
                })
                .collect();
            if trouble == Trouble::ReplicaKilled {
                // All are on their way: the origin takes its time.
                let is_asked =
                    |log: &Log, path: &str| log.requests.iter().any(|served| served.path == path);
                let are_asked = |log: &Log| things.iter().all(|(path, _)| is_asked(log, path));
                origin.wait_for(are_asked, LIMIT);
                replicas[0].modtape.signal(Signal::KILL);
            }
            for (client, replica, body) in clients {
                let was_killed = trouble == Trouble::ReplicaKilled && replica == 0;
                // Nobody listens where it was.
                let (answer, took) = match client.join() {
                    Ok(answered) => answered,
                    Err(_) if was_killed => continue,
                    Err(_) => panic!("{round} {trouble:?}"),
                };
                assert!(
                    took < Duration::from_secs(12),
                    "{round} {trouble:?}: {took:?}"
                );
                if was_killed && !answer.is_whole {
                    continue;
                }
                let is_right = answer.status == 200 && answer.text() == *body;
                assert!(is_right, "{round} {trouble:?}: {answer:?}");
            }
        });
        let was_busy = left_out(&replicas) != left_out_before;
        calm += usize::from(trouble == Trouble::None && !was_busy);
        let most = match trouble {
            // Each for itself.
            _ if was_busy => 3,
            Trouble::None | Trouble::StoreStopped => 1,
            Trouble::ReplicaKilled => 2,
            Trouble::RedisStopped | Trouble::RedisRestarted => 3,
        };
        for (path, _) in &things {
            let asked = asked(&origin, path);
            assert!(
                (1..=most).contains(&asked),
                "{round} {trouble:?}: {path} {asked}"
            );
        }
        match (trouble, &bucket) {
            (Trouble::ReplicaKilled, _) => replicas[0] = start(&sandboxes[0]),
            (Trouble::RedisStopped, _) => server.redis.signal(Signal::CONT),
            (Trouble::RedisRestarted, _) => {
                drop(server);
                server = Server::start(&folder).expect("it has run before");
            }
            (Trouble::StoreStopped, Some(bucket)) => bucket.server.signal(Signal::CONT),
            _ => {}
        }
    }
    for replica in replicas {
        replica.end();
    }
    let expected = (0..rounds)
        .filter(|it| TROUBLES[it % TROUBLES.len()] == Trouble::None)
        .count();
    eprintln!("{calm} of {expected} calm rounds without a tier that was left out");
    assert!(calm * 2 >= expected, "{calm} of {expected}");
}
