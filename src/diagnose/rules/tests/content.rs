//! What the contents tell, and the caches: go.sum, checksum database, servers, module cache.

use super::*;
use crate::gomod::Kind;
use crate::recording::caches::{
    CacheFolder, Caches, CheckedModules, Damage, Damaged, Forbidden, Unkept,
};
use crate::recording::format::{Conflict, Fault, Hashed};

const INFO: &str = "a.example/m/@v/v1.0.0.info";
const MOD: &str = "a.example/m/@v/v1.0.0.mod";

fn hashed(exchange: ExchangeId, host: &str, sum: &str) -> Hashed {
    Hashed {
        run: 0,
        exchange,
        host: host.into(),
        sum: sum.into(),
    }
}

/// Hashes that three have of a file.
pub(super) fn any_conflict() -> impl Strategy<Value = Conflict> {
    let sum = || prop::sample::select(vec!["h1:a=", "h1:b=", "h1:c="]);
    let host = prop::sample::select(vec!["proxy.golang.org", "goproxy.corp"]);
    let hashed = (0..60_u64, host, sum()).prop_map(|(id, host, sum)| hashed(id, host, sum));
    let answers = || prop::collection::vec(hashed.clone(), 0..4);
    let go_sum = prop::collection::vec(sum().prop_map(str::to_owned), 0..3);
    (go_sum, answers(), answers()).prop_map(|(go_sum, database, served)| Conflict {
        kind: Kind::Mod,
        module: "a.example/m".into(),
        version: "v1.0.0".into(),
        go_sum,
        database,
        served,
    })
}

/// A zip of which go.sum says something else.
pub(super) fn differing(exchange: ExchangeId) -> Conflict {
    Conflict {
        kind: Kind::Zip,
        module: format!("a.example/m{exchange}"),
        version: "v1.0.0".into(),
        go_sum: vec!["h1:a=".into()],
        database: Vec::new(),
        served: vec![hashed(exchange, "proxy.golang.org", "h1:b=")],
    }
}

/// A command that failed, and what is said of a zip: by go.sum, the database, and servers in turn.
fn disagreeing(go_sum: &[&str], database: Option<&str>, served: &[&str]) -> Made {
    let ids = 1..=served.len() as u64;
    let mut rows: Vec<Row> = ids.map(|id| answer(id, ZIP, 0, 1000)).collect();
    rows.push(row(
        9,
        "https://sum.golang.org/lookup/a.example/m@v1.0.0",
        0,
        &[(Phase::Wait, 1000)],
    ));
    let mut made = Made::of(rows).exit(1);
    let served = (1..).zip(served);
    let hosts = ["proxy.golang.org", "goproxy.corp"];
    let served = served.map(|(id, sum)| hashed(id, hosts[(id as usize - 1) % 2], sum));
    let database = database.map(|sum| hashed(9, "sum.golang.org", sum));
    made.manifest.conflicts = vec![Conflict {
        kind: Kind::Zip,
        module: "a.example/m".into(),
        version: "v1.0.0".into(),
        go_sum: go_sum.iter().map(|&sum| sum.to_owned()).collect(),
        database: database.into_iter().collect(),
        served: served.collect(),
    }];
    made
}

#[test]
fn the_odd_one_of_three_is_named() {
    let (a, b, c) = ("h1:a=", "h1:b=", "h1:c=");
    for (go_sum, database, served, title) in [
        (
            &[a][..],
            Some(b),
            &[b][..],
            "go.sum has a wrong hash of the zip of a.example/m v1.0.0: proxy.golang.org and",
        ),
        (&[a, b], Some(b), &[b], "agree on another"),
        (
            &[a],
            Some(a),
            &[b],
            "proxy.golang.org serves something else as the zip of a.example/m v1.0.0: go.sum and the checksum database agree",
        ),
        (&[a], Some(a), &[a, b], "goproxy.corp serves something else"),
        (
            &[],
            Some(a),
            &[b],
            "proxy.golang.org serves something else as the zip of a.example/m v1.0.0 than the checksum database has",
        ),
        (
            &[a],
            Some(b),
            &[a],
            "the checksum database has another hash of the zip of a.example/m v1.0.0 than go.sum and proxy.golang.org",
        ),
        (
            &[a],
            None,
            &[b],
            "go.sum has another hash of the zip of a.example/m v1.0.0 than what proxy.golang.org serves",
        ),
        (&[a], None, &[b, b], "(2 hosts serve the same)"),
        (
            &[a],
            Some(b),
            &[c],
            "go.sum, the checksum database and proxy.golang.org each have another",
        ),
        (
            &[a],
            Some(b),
            &[],
            "go.sum has another hash of the zip of a.example/m v1.0.0 than the checksum database",
        ),
    ] {
        let first = disagreeing(go_sum, database, served).first();
        assert_eq!(
            (first.code, first.severity),
            ("MT301", Severity::Problem),
            "{title}"
        );
        assert!(first.title.contains(title), "{}", first.title);
        assert_eq!(
            first.evidence.len(),
            go_sum.len() + database.iter().count() + served.len()
        );
        let hint = first.hint.expect("there is one");
        assert!(
            !hint.contains("GOSUMDB=off") && !hint.contains("GONOSUMDB="),
            "{hint}"
        );
    }
    let told = |made: Made| {
        let first = made.first();
        (first.confidence, first.title)
    };
    assert_eq!(
        told(disagreeing(&[a], Some(b), &[b])).0,
        Confidence::Certain
    );
    // Who relays the database may have made up what it says.
    let relayed = |by: &str| {
        let mut made = disagreeing(&[a], Some(b), &[b]);
        made.manifest.conflicts[0].database[0].host = by.into();
        told(made)
    };
    let (confidence, title) = relayed("goproxy.corp");
    assert_eq!(confidence, Confidence::Likely);
    assert!(title.starts_with("go.sum has a wrong hash"), "{title}");
    let (confidence, title) = relayed("proxy.golang.org");
    assert_eq!(confidence, Confidence::Likely);
    assert!(
        !title.contains("wrong") && title.ends_with("also relayed the checksum database's answer"),
        "{title}"
    );
    let twice = disagreeing(&[a, b], Some(b), &[b]).first().title;
    assert!(twice.contains("two lines"), "{twice}");
}

#[test]
fn what_nobody_verifies_is_asked_of_the_database_or_of_the_authors() {
    let made = || disagreeing(&["h1:a="], None, &["h1:b="]);
    let hint = |made: Made| made.first().hint.expect("there is one");
    let public = hint(made());
    assert!(
        public.contains("go mod download -modcacherw -json a.example/m@v1.0.0"),
        "{public}"
    );
    for private in [
        made().setting("GOPRIVATE", "a.example"),
        made().setting("GONOSUMDB", "*.example/m"),
        made().setting("GOSUMDB", "off"),
    ] {
        let hint = hint(private);
        assert!(hint.contains("whether the tag v1.0.0 was moved"), "{hint}");
    }
    assert!(hint(made().setting("GOPRIVATE", "b.example")).contains("mktemp"));
}

#[test]
fn servers_that_disagree_are_told_where_nobody_says_which_is_right() {
    assert_eq!(
        disagreeing(&[], None, &["h1:a=", "h1:b="]).codes(),
        ["MT302"]
    );
    let title = disagreeing(&[], None, &["h1:a=", "h1:b="]).first().title;
    assert!(
        title.contains("goproxy.corp and proxy.golang.org served different"),
        "{title}"
    );
    // The same twice, and what go.sum decides.
    assert_eq!(disagreeing(&[], None, &["h1:a=", "h1:a="]).all(), [""; 0]);
    assert_eq!(
        disagreeing(&["h1:a="], None, &["h1:a=", "h1:b="]).codes(),
        ["MT301"]
    );
}

#[test]
fn a_command_that_succeeded_has_a_note_at_most() {
    let made = disagreeing(&["h1:a="], Some("h1:b="), &["h1:a="]).exit(0);
    assert_eq!((made.codes(), made.all()), (vec![], vec!["MT301"]));
}

#[test]
fn an_answer_that_differs_from_its_lookup_is_told_once() {
    let fault = |exchange| Fault {
        run: 0,
        exchange,
        kind: Kind::Zip,
        what: "zip a.example/m v1.0.0".into(),
        host: "proxy.golang.org".into(),
        why: "its hash is another".into(),
    };
    for exit in [0, 1] {
        let mut made = disagreeing(&[], Some("h1:a="), &["h1:b="]).exit(exit);
        made.manifest.replayable.faults = vec![fault(1)];
        assert_eq!(made.all(), ["MT301"]);
        made.rows.push(answer(20, INFO, S, 1000));
        made.manifest.replayable.faults = vec![fault(20)];
        let all: std::collections::BTreeSet<_> = made.all().into_iter().collect();
        assert_eq!(all, ["MT301", "MT304"].into());
    }
}

#[test]
fn a_merge_that_was_not_finished_is_told_unless_the_command_mends_it() {
    let made = |line: &str| {
        let mut made = Made::of(Vec::new()).exit(1);
        made.manifest.command = vec!["go".into(), "build".into()];
        made.go_sum = Some(GoSum::parse(
            format!("a.b/c v1.0.0 h1:x=\n{line}\n").as_bytes(),
        ));
        made
    };
    let first = made("<<<<<<< HEAD").first();
    assert_eq!((first.code, first.severity), ("MT301", Severity::Problem));
    assert_eq!(
        first.title,
        "line 2 of go.sum is malformed: a merge conflict was left in it"
    );
    assert!(made("a.b/c v1.0.0").first().title.contains("three words"));
    assert!(!made("a.b/c v1.0.0 h1:y=").codes().contains(&"MT301"));
    assert!(!made("<<<<<<< HEAD").exit(0).codes().contains(&"MT301"));
    let mut tidy = made("<<<<<<< HEAD");
    tidy.manifest.command = vec!["go".into(), "mod".into(), "tidy".into()];
    assert!(!tidy.codes().contains(&"MT301"));
    tidy.manifest.command = ["go", "-C", "lib", "mod", "tidy"].map(String::from).into();
    assert!(!tidy.codes().contains(&"MT301"));
    tidy.manifest.command = vec!["make".into(), "tidy".into()];
    assert_eq!(tidy.first().confidence, Confidence::Likely);
    tidy.samples = vec![super::processes::looked_at_tidy()];
    assert!(!tidy.codes().contains(&"MT301"));
    let mut work = made("a.b/d v1.0.0 h1:x=");
    let sums = work.go_sum.get_or_insert_default();
    sums.add("go.work.sum", b"=======\n");
    let title = work.first().title;
    assert!(title.starts_with("line 1 of go.work.sum"), "{title}");
}

/// A command that failed, and the caches behind it.
fn left(caches: Caches) -> Made {
    let rows = vec![
        answer(1, INFO, 0, 1000),
        answer(2, MOD, 0, 1000),
        answer(3, ZIP, 0, 1000),
    ];
    let mut made = Made::of(rows).exit(1);
    made.manifest.caches = Some(caches);
    made
}

fn sound() -> Caches {
    Caches {
        modules: CacheFolder {
            path: "/home/ana/go/pkg/mod".into(),
            exists: true,
            write_error: None,
            free_bytes: Some(1 << 30),
            forbidden: None,
        },
        ..Caches::default()
    }
}

fn damaged(damage: Damage) -> Caches {
    let checked = CheckedModules {
        named: 1,
        looked_at: 1,
        missing: 0,
        damaged: vec![Damaged {
            module: "a.example/m".into(),
            version: "v1.0.0".into(),
            path: "cache/download/a.example/m/@v/v1.0.0.zip".into(),
            damage,
        }],
    };
    Caches { checked, ..sound() }
}

#[test]
fn a_damaged_module_is_told_and_one_with_another_content_is_a_matter_of_go_sum() {
    assert_eq!(left(sound()).all(), [""; 0]);
    let (says, sum, go_sum) = ("h1:a=".to_owned(), "h1:b=".to_owned(), "h1:c=".to_owned());
    let why = String::from("it is not a whole zip file");
    for (damage, code, shows) in [
        (
            Damage::Zip { why: why.clone() },
            "MT306",
            "not a whole zip file",
        ),
        (Damage::Tree { why }, "MT306", "an unpacked file"),
        (
            Damage::Ziphash {
                says,
                sum: sum.clone(),
            },
            "MT306",
            "ziphash",
        ),
        (
            Damage::Content { sum, go_sum },
            "MT301",
            "than the module cache has",
        ),
    ] {
        let first = left(damaged(damage)).first();
        assert_eq!((first.code, first.severity), (code, Severity::Problem));
        assert_eq!(first.confidence, Confidence::Likely);
        assert!(first.title.contains(shows), "{}", first.title);
        assert!(
            first.title.contains("a.example/m v1.0.0"),
            "{}",
            first.title
        );
    }
}

#[test]
fn what_cannot_be_read_or_written_is_given_back_by_who_owns_it() {
    let forbidden = |owner, is_own| Forbidden {
        path: "/home/ana/go/pkg/mod/cache/x".into(),
        owner,
        is_own,
    };
    let said = [
        (forbidden(0, false), "`sudo chown -R "),
        (forbidden(1000, true), "`chmod u+rwX "),
        (forbidden(1001, false), "ask the user with the number 1001"),
    ];
    for (forbidden, begins) in said {
        let why = String::from("Permission denied (os error 13)");
        let unreadable = Damage::Unreadable {
            why: why.clone(),
            forbidden: Some(forbidden.clone()),
        };
        let first = left(damaged(unreadable)).first();
        assert_eq!(first.code, "MT306");
        assert!(
            first.title.contains(".zip cannot be read: Perm"),
            "{}",
            first.title
        );
        assert!(first.hint.unwrap().starts_with(begins), "{begins}");
        let mut caches = sound();
        caches.modules.write_error = Some(why);
        caches.modules.forbidden = Some(forbidden);
        caches.checked.missing = 1;
        let first = left(caches).findings().remove(0);
        assert_eq!(first.code, "MT307");
        assert!(first.hint.unwrap().starts_with(begins), "{begins}");
    }
}

#[test]
fn a_full_file_system_is_one_with_less_room_than_what_was_served_takes() {
    let made = |free, bytes| {
        let mut caches = sound();
        caches.modules.free_bytes = free;
        caches.unkept = vec![Unkept {
            run: 0,
            exchange: 3,
            what: "zip a.example/m v1.0.0".into(),
            bytes,
        }];
        caches.unkept_bytes = bytes;
        left(caches)
    };
    let first = made(Some(4096), 5000).first();
    assert_eq!((first.code, first.severity), ("MT307", Severity::Problem));
    assert!(
        first.title.contains("is full: 4.1 kB are free"),
        "{}",
        first.title
    );
    assert_eq!(first.evidence.len(), 2);
    // There was room: go did not keep it for another reason, such as its hash.
    assert_eq!(made(Some(5000), 5000).all(), [""; 0]);
    assert_eq!(made(None, 5000).all(), [""; 0]);
}

#[test]
fn a_cache_that_cannot_be_written_is_a_cause_only_where_something_had_to_be() {
    let made = |unkept: bool, missing, exists| {
        let mut caches = sound();
        caches.modules.write_error = Some("Read-only file system (os error 30)".into());
        caches.modules.exists = exists;
        caches.checked.missing = missing;
        if unkept {
            caches.unkept = vec![Unkept {
                run: 0,
                exchange: 2,
                what: "mod a.example/m v1.0.0".into(),
                bytes: 10,
            }];
            caches.unkept_bytes = 10;
        }
        left(caches)
    };
    let first = made(true, 0, true).first();
    assert_eq!((first.code, first.severity), ("MT307", Severity::Problem));
    assert!(
        first.title.contains("cannot be written (Read-only"),
        "{}",
        first.title
    );
    // A cache that was filled before, and a program that does not compile.
    assert_eq!(made(false, 0, true).all(), [""; 0]);
    assert_eq!(
        (made(false, 2, true).codes(), made(false, 2, true).all()),
        (vec![], vec!["MT307"])
    );
    let mut nothing = made(false, 2, false);
    nothing.rows.clear();
    let first = nothing.first();
    assert_eq!(
        (first.code, first.confidence),
        ("MT307", Confidence::Likely)
    );
    assert!(first.title.contains("cannot be made"), "{}", first.title);
}

#[test]
fn what_belongs_to_another_user_is_a_likely_cause_where_something_was_not_kept() {
    let mut caches = sound();
    caches.modules.forbidden = Some(Forbidden {
        path: "/home/ana/go/pkg/mod/cache/download/a.example".into(),
        owner: 0,
        is_own: false,
    });
    assert_eq!(left(caches.clone()).all(), [""; 0]);
    caches.unkept = vec![Unkept {
        run: 0,
        exchange: 2,
        what: "mod a.example/m v1.0.0".into(),
        bytes: 10,
    }];
    let first = left(caches).first();
    assert_eq!((first.code, first.severity), ("MT307", Severity::Problem));
    assert_eq!(first.confidence, Confidence::Likely);
    assert!(
        first.title.contains("a.example is root's"),
        "{}",
        first.title
    );
    assert!(first.hint.expect("there is one").contains("chown"));
}

#[test]
fn zips_that_no_build_uses_are_a_note_on_a_download_of_all() {
    let made = |command: &str, go_sum: &str| {
        let zip = |id, module: &str, bytes| Row {
            bytes,
            ..answer(id, &format!("{module}/@v/v1.0.0.zip"), 0, 1000)
        };
        let rows = vec![
            zip(1, "a.example/used", 9000),
            zip(2, "a.example/not", 1000),
        ];
        let mut made = Made::of(rows);
        made.manifest.command = command.split(' ').map(str::to_owned).collect();
        made.go_sum = Some(GoSum::parse(go_sum.as_bytes()));
        made
    };
    let used = "a.example/used v1.0.0 h1:x=\na.example/used v1.0.0/go.mod h1:y=\n";
    let not = "a.example/not v1.0.0/go.mod h1:z=\n";
    let both = format!("{used}{not}");
    let first = made("go mod download", &both).first();
    assert_eq!((first.code, first.severity), ("MT133", Severity::Note));
    assert!(
        first.title.starts_with("1 of 2 zips (1.0 kB of 10.0 kB)"),
        "{}",
        first.title
    );
    assert_eq!(
        made("/opt/go/bin/go -C lib mod download -x", &both).all(),
        ["MT133"]
    );
    for (command, go_sum) in [
        // Needed, new in go.mod, no go.sum to go by, or wanted by name.
        (
            "go mod download",
            &*format!("{both}a.example/not v1.0.0 h1:z=\n"),
        ),
        ("go mod download", used),
        ("go mod download", not),
        ("go mod download a.example/not", &both),
        ("go mod download all", &both),
        ("go get -u ./...", &both),
        ("go mod tidy", &both),
        ("make mod download", &both),
    ] {
        assert_eq!(made(command, go_sum).all(), [""; 0], "{command} {go_sum}");
    }
    assert!(
        !made("go mod download", &both)
            .exit(1)
            .all()
            .contains(&"MT133")
    );
}
