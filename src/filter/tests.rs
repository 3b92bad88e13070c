use std::sync::LazyLock;

use super::*;
use crate::exchange::{Phase, Timings};
use crate::gomod::Route;

const URL: &str = "https://goproxy.cn:8443/golang.org/x/net/@v/v0.34.0.zip";

fn subject() -> Subject<'static> {
    static PHASES: LazyLock<Timings> = LazyLock::new(|| {
        Timings::from_iter([
            (Phase::Blocked, 1000),
            (Phase::Wait, 900_000),
            (Phase::Receive, 99_000),
        ])
    });
    static ROUTE: LazyLock<Route> = LazyLock::new(|| Route::of(URL, &[]));
    Subject {
        id: 12,
        connection: 3,
        method: "GET",
        url: URL,
        host: "goproxy.cn:8443",
        route: &ROUTE,
        status: Some(200),
        outcome: Outcome::Ok,
        phases: &PHASES,
        bytes: 1_500_000,
    }
}

fn takes(filter: &str) -> bool {
    filter.parse::<Filter>().expect(filter).takes(&subject())
}

#[test]
fn each_key_asks_what_it_says() {
    for filter in [
        "",
        "  ",
        "host:goproxy.cn",
        "host:GOPROXY.cn:8443",
        "host:*.cn",
        "kind:zip",
        "kind:mod,zip",
        "module:golang.org/x/*",
        "version:v0.34.*",
        "status:200",
        "status:2xx",
        "status:<300",
        "outcome:ok",
        "ok",
        "-probe",
        "-outcome:probe,error",
        "time:>500ms",
        "time:1s",
        "time:<=1s",
        "size:>1MB",
        "phase:wait>80%",
        "phase:wait",
        "phase:receive>90ms",
        "wait:>0.5s",
        "-dns:>0s",
        "method:get",
        "url:https://*",
        "text:X/NET",
        "x/net",
        "\"zip golang.org\"",
        "id:12",
        "id:10-20",
        "connection:3",
        "-status:none",
        "module:\"golang.org/x/net\"",
        "kind:zip time:>1ms x/net",
    ] {
        assert!(takes(filter), "{filter}");
    }
    for filter in [
        "-kind:zip",
        "host:goproxy",
        "host:proxy.golang.org",
        "kind:mod,info",
        "module:golang.org/x",
        "status:4xx",
        "status:none",
        "probe",
        "time:>1s",
        "size:<1MB",
        "phase:dns",
        "phase:wait>91%",
        "id:13",
        "nothing",
        "kind:zip time:>1s",
        "\"probe\"",
    ] {
        assert!(!takes(filter), "{filter}");
    }
}

#[test]
fn an_error_stands_at_its_column_and_says_what_would_be_right() {
    for (filter, column, part) in [
        ("kind:zipp", 6, "did you mean zip?"),
        ("host:a knd:zip", 8, "did you mean kind?"),
        ("colour:x", 1, "they are host, kind"),
        ("status:>=40x", 8, "400-499"),
        ("time:>500", 6, "\">500\" is no time: >500ms"),
        ("é size:big", 8, "is no size"),
        ("phase:wait>much", 7, "neither a time nor a share"),
        ("phase:waiting>1s", 7, "blocked, dns, connect"),
        ("host:", 6, "host needs a value"),
        ("host:a,,b", 8, "host needs a value"),
        ("outcome:fail", 9, "there are ok, probe"),
        ("a \"b c", 3, "this quote has no end"),
        ("-", 2, "is missing here"),
        ("id:20-10", 4, "12-20"),
    ] {
        let error = filter.parse::<Filter>().expect_err(filter);
        assert_eq!(error.column, column, "{filter}: {error}");
        assert!(error.problem.contains(part), "{filter}: {error}");
    }
}

#[test]
fn any_text_is_a_filter_or_an_error_at_a_place() {
    crate::hostile::twin("filter", 2_000, check::check);
}
