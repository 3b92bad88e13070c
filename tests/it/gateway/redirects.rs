//! Redirects are followed as go follows them, and whoever they lead to learns no credentials.

use super::front::{answers, command, get};
use super::*;
use crate::record::recording;

const ENTRY: &str = "https://ana:hunter2-and-more@a.example/go";

fn on(host: &'static str, path: &'static str) -> Rule {
    Rule::when(move |served| served.host == host && served.path == path)
}

#[test]
fn credentials_are_gone_for_good_once_another_origin_was_asked() {
    let origin = Origin::builder(Content::default())
        .rule(on("a.example", "/go/x").redirect("/go/y"))
        .rule(on("a.example", "/go/y").redirect("https://b.example/z w"))
        .rule(on("b.example", "/z w").redirect("https://a.example/chosen"))
        .rule(Rule::any().status(200).body("fetched\n"))
        .start();
    let sandbox = Sandbox::new();
    let mut record = command(&sandbox, &origin, &["--token", "none"]);
    record.env("GOPROXY", ENTRY);
    let (answers, _) = answers(&sandbox, record, &[&get("/p0/x", "ADDRESS")]);
    assert_eq!(answers, [(200, String::from("fetched"))]);
    let requests = origin.requests();
    let seen = requests.iter().map(|served| {
        let referer = served.headers.get("referer");
        let referer = referer.and_then(|referer| referer.to_str().ok());
        (
            format!("{}{}", served.host, served.raw_path),
            served.headers.contains_key("authorization"),
            referer.unwrap_or_default().to_owned(),
        )
    });
    let expected = [
        ("a.example/go/x", true, ""),
        ("a.example/go/y", true, "https://a.example/go/x"),
        ("b.example/z%20w", false, "https://a.example/go/y"),
        ("a.example/chosen", false, "https://b.example/z%20w"),
    ];
    let expected = expected.map(|(url, shown, from)| (url.to_owned(), shown, from.to_owned()));
    assert_eq!(seen.collect::<Vec<_>>(), expected);
}

#[test]
fn an_empty_location_is_the_answer() {
    let origin = Origin::builder(Content::default())
        .rule(Rule::any().status(302).header("Location", "").body("so\n"))
        .start();
    let sandbox = Sandbox::new();
    let record = command(&sandbox, &origin, &["--token", "none"]);
    let (answers, _) = answers(&sandbox, record, &[&get("/p0/x", "ADDRESS")]);
    assert_eq!(answers, [(302, String::from("so"))]);
}

#[test]
fn a_redirect_whose_body_does_not_end_is_followed_and_replays() {
    let endless = on("a.example", "/go/x").redirect("https://b.example/y");
    let origin = Origin::builder(Content::default())
        .rule(endless.generated(200_000).stall_after(20_000))
        .rule(Rule::any().status(200).body("fetched\n"))
        .start();
    let sandbox = Sandbox::new();
    let flags = ["--token", "none"];
    let ask = [get("/p0/x", "ADDRESS")];
    let ask = ask.each_ref().map(String::as_str);
    let (recorded, _) = answers(&sandbox, command(&sandbox, &origin, &flags), &ask);
    assert_eq!(recorded, [(200, String::from("fetched"))]);
    let urls = asked(&recording(&sandbox, "one"));
    let expected = [
        ("https://a.example/go/x", 302),
        ("https://b.example/y", 200),
    ];
    let expected = expected.map(|(url, status)| (url.to_owned(), status));
    assert_eq!(sorted(urls), expected);
    drop(origin);
    let mut replay = sandbox.modtape(["replay", "one", "--strict", "--mode", "gateway"]);
    replay.args(flags);
    let (replayed, _) = answers(&sandbox, replay, &ask);
    assert_eq!(replayed, recorded);
}
