use proptest::prelude::*;

use super::path::NAME_LIMIT;
use super::*;
use crate::gomod::GoProxy;

const PROXY: &str = "https://proxy.golang.org";

/// Rows of that proxy, unless a URL says otherwise.
fn rows(asked: &[(&str, u16)]) -> Vec<Row> {
    let url = |path: &str| match path.starts_with('/') {
        true => format!("{PROXY}{path}"),
        false => path.into(),
    };
    let rows = asked
        .iter()
        .map(|(path, status)| Row::answered(1, &url(path), *status));
    rows.collect()
}

fn catalog(rows: &[Row], locations: &[(&str, &str)]) -> Catalog {
    let bases = GoProxy::parse(PROXY).bases();
    Catalog::of(rows, &bases, &Faulty::new(), |row| {
        let found = locations.iter().find(|(from, _)| row.url.ends_with(from));
        found.map(|(_, to)| (*to).to_owned())
    })
}

fn files(found: &Catalog) -> Vec<(&str, usize)> {
    let files = found.files().iter();
    files
        .map(|(path, file)| (path.as_str(), file.row))
        .collect()
}

#[test]
fn each_answer_lies_where_the_go_command_asks_for_it() {
    let table = [
        (
            "/github.com/%21azure/x/@v/v1.0.0-%21r%21c1.mod",
            Some("github.com/!azure/x/@v/v1.0.0-!r!c1.mod"),
        ),
        ("/a.b/c/@v/v1.0.0.info", Some("a.b/c/@v/v1.0.0.info")),
        ("/a.b/c/@v/main.info", Some("a.b/c/@v/main.info")),
        ("/a.b/c/@latest", Some("a.b/c/@latest")),
        (
            "/golang.org/toolchain/@v/v0.0.1-go1.24.1.linux-amd64.zip",
            Some("golang.org/toolchain/@v/v0.0.1-go1.24.1.linux-amd64.zip"),
        ),
        (
            "https://sum.golang.org/lookup/a.b/%21c@v1.0.0",
            Some("sumdb/sum.golang.org/lookup/a.b/!c@v1.0.0"),
        ),
        (
            "https://sum.golang.org/tile/8/0/x069/585",
            Some("sumdb/sum.golang.org/tile/8/0/x069/585"),
        ),
        (
            "/sumdb/sum.golang.org/supported",
            Some("sumdb/sum.golang.org/supported"),
        ),
        (
            "/sumdb/sums.corp/db/tile/8/0/001.p/3",
            Some("sumdb/sums.corp/db/tile/8/0/001.p/3"),
        ),
        // It is made, not copied.
        ("/a.b/c/@v/list", None),
        ("https://a.b/c?go-get=1", None),
        ("/a.b/c/@v/v1.0.0.zip.asc", None),
    ];
    for (url, expected) in table {
        let found = catalog(&rows(&[(url, 200)]), &[]);
        let paths: Vec<_> = found.files().keys().collect();
        assert_eq!(paths, expected.into_iter().collect::<Vec<_>>(), "{url}");
        assert!(found.refused().is_empty(), "{url}: {:?}", found.refused());
    }
}

#[test]
fn the_last_whole_answer_counts() {
    let mut rows = rows(&[
        ("/a.b/c/@latest", 200),
        ("/a.b/c/@latest", 404),
        ("https://goproxy.cn/a.b/c/@latest", 200),
        ("/a.b/c/@latest", 200),
        ("/a.b/c/@latest", 200),
        ("/a.b/c/@latest", 200),
        ("/a.b/c/@latest", 206),
    ]);
    rows[3].method = "HEAD".into();
    rows[4].made_by = Some(MadeBy::Modtape);
    rows[5].state = RowState::Aborted;
    assert_eq!(files(&catalog(&rows, &[])), [("a.b/c/@latest", 2)]);
}

#[test]
fn a_redirect_leads_as_far_as_the_recording_goes() {
    let zip = "a.b/c/@v/v1.0.0.zip";
    let asked = rows(&[
        ("/a.b/c/@v/v1.0.0.zip", 302),
        (
            "https://store.example/x%2Fy?X-Goog-Signature=redacted:1&n=1",
            307,
        ),
        ("/blob", 200),
        ("/blob", 404),
    ]);
    let table: [(&str, &str, Result<usize, &str>); 6] = [
        (
            "https://store.example/x%2fy?X-Goog-Signature=redacted:2&n=1#f",
            "https://proxy.golang.org/blob",
            Ok(2),
        ),
        ("/blob", "", Ok(2)),
        (
            "../../blob",
            "",
            Err("redirected to proxy.golang.org, which was not recorded"),
        ),
        (
            "https://store.example/x%2fy?n=2",
            "",
            Err("redirected to store.example, which was not recorded"),
        ),
        (
            "https://store.example/x%2fy?X-Goog-Signature=a&n=1",
            "https://proxy.golang.org/a.b/c/@v/v1.0.0.zip",
            Err("redirected in a circle"),
        ),
        (
            "https://store.example/x%2fy?X-Goog-Signature=a&n=1",
            "https://else.example/blob",
            Err("redirected to else.example, which was not recorded"),
        ),
    ];
    for (first, second, expected) in table {
        let found = catalog(&asked, &[(".zip", first), ("n=1", second)]);
        match expected {
            Ok(row) => assert_eq!(files(&found), [(zip, row)], "{first} {second}"),
            Err(how) => {
                assert!(files(&found).is_empty(), "{first} {second}: {found:?}");
                assert_eq!(found.astray[zip], how, "{first} {second}");
            }
        }
    }
}

#[test]
fn a_list_names_whole_tags_and_the_rest_is_told() {
    let pseudo = "v0.0.0-20220722155237-a158d28d115b";
    let whole =
        |version: &str| ["info", "mod", "zip"].map(|end| format!("/a.b/c/@v/{version}.{end}"));
    let mut asked: Vec<_> = [
        whole("v1.0.0"),
        whole(pseudo),
        whole("v1.2.0"),
        whole("main"),
    ]
    .concat();
    asked.push("/a.b/c/@v/v1.1.0.mod".into());
    asked.push("/d.e/f/@v/list".into());
    let asked: Vec<_> = asked.iter().map(|path| (path.as_str(), 200)).collect();
    let found = catalog(&rows(&asked), &[]);
    let lost = BTreeSet::from(["a.b/c/@v/v1.2.0.info".to_owned()]);
    let found = found.without(&lost);
    let list = |path: &str, text: &str| (path.to_owned(), text.to_owned());
    assert_eq!(
        found.made(),
        [list("a.b/c/@v/list", "v1.0.0\n"), list("d.e/f/@v/list", "")]
    );
    let lacking = found.lacking().into_iter();
    let lacking: Vec<_> = lacking
        .map(|lacking| (lacking.version, lacking.files))
        .collect();
    let lacks = |version: &str, files: &[&str]| {
        (
            version.to_owned(),
            files
                .iter()
                .map(|file| (*file).to_owned())
                .collect::<Vec<_>>(),
        )
    };
    assert_eq!(
        lacking,
        [
            lacks("v1.1.0", &["info", "zip"]),
            lacks("v1.2.0", &["info"])
        ]
    );
}

/// A lookup of record `id`, in a tree of so many.
fn lookup(id: u64, size: u64) -> Vec<u8> {
    format!(
        "{id}\na.b/c v1.0.{id} h1:x\n\ngo.sum database tree\n{size}\nroot\n\n\u{2014} sum signed\n"
    )
    .into()
}

#[test]
fn lookups_get_the_greatest_head_that_the_tiles_at_hand_prove_all_of_them_in() {
    let host = "https://sum.golang.org";
    let ask = |tiles: &[&str]| {
        let asked = ["lookup/a.b/c@v1.0.3", "lookup/a.b/c@v1.0.7"]
            .iter()
            .chain(tiles);
        let asked: Vec<_> = asked.map(|path| format!("{host}/{path}")).collect();
        let asked: Vec<_> = asked.iter().map(|url| (url.as_str(), 200)).collect();
        let mut found = catalog(&rows(&asked), &[]);
        let read = |row| [lookup(3, 300), lookup(7, 600)].get(row).cloned();
        let not_unified = found.unify(read);
        let heads = found.files.values().filter_map(|file| match &file.edit {
            Edit::Note(note) => String::from_utf8_lossy(note).lines().nth(1)?.parse().ok(),
            Edit::Whole | Edit::Cut(_) => None,
        });
        let mut heads: Vec<u64> = heads.collect();
        heads.dedup();
        (heads, not_unified, found)
    };
    let of_600 = ["tile/8/0/000", "tile/8/0/002.p/90", "tile/8/1/000.p/2"];
    let (heads, not_unified, found) = ask(&of_600);
    assert_eq!((&heads[..], not_unified), (&[600][..], vec![]));
    let supported = ("sumdb/sum.golang.org/supported".to_owned(), String::new());
    assert_eq!(found.made(), [supported]);
    let cut = &found.files["sumdb/sum.golang.org/tile/8/0/002.p/88"];
    assert_eq!((cut.row, &cut.edit), (3, &Edit::Cut(88 * 32)));
    assert!(
        !found
            .files
            .contains_key("sumdb/sum.golang.org/tile/8/0/002.p/90")
    );
    // The edge of the greater tree is not at hand, that of the smaller one is.
    let of_300 = ["tile/8/0/000", "tile/8/0/001", "tile/8/1/000.p/1"];
    assert_eq!(ask(&of_300).0, [300]);
    let (heads, not_unified, found) = ask(&of_600[..2]);
    assert!(heads.is_empty() && found.made().is_empty());
    let of_600 = &found.files["sumdb/sum.golang.org/tile/8/0/002.p/88"];
    assert_eq!((of_600.row, &of_600.edit), (3, &Edit::Cut(88 * 32)));
    let name = String::from("sum.golang.org");
    let expected = NotUnified {
        name,
        heads: 2,
        tiles: 1,
    };
    assert_eq!(not_unified, [expected]);
    let recorded = ["tile/8/0/000", "supported"];
    assert_eq!(ask(&recorded).2.made(), []);
}

#[test]
fn no_request_has_a_file_elsewhere() {
    let long = format!("/a.b/{}/@latest", "c".repeat(256));
    let deep = format!("/a.b/{}/@latest", "c/".repeat(1_000).trim_end_matches('/'));
    for url in [
        "/../../etc/passwd/@v/list",
        "/a.b/../../c/@v/v1.0.0.zip",
        "/a.b/%2e%2e/c/@latest",
        "/a.b/c/@v/..%2f..%2fx.zip",
        "/a.b/c/@v/%2e%2e.zip",
        "/a.b/c%00d/@latest",
        "/a.b/c%5cd/@latest",
        "//a.b/c/@latest",
        "/a.b/CON/@latest",
        "https://sum.golang.org/lookup/a.b/..@v1.0.0",
        "/sumdb/../../x/lookup/a.b/c@v1.0.0",
        "/sumdb/a.b/../../../../x/supported",
        "/sumdb//x/supported",
        "/sumdb/x.y/supported/tile/8/0/001",
        "/sumdb/x.y/tile/tile/8/0/001",
        &long,
        &deep,
    ] {
        let found = catalog(&rows(&[(url, 200)]), &[]);
        assert!(
            files(&found).is_empty() && found.made().is_empty(),
            "{url}: {found:?}"
        );
    }
    let refused = catalog(&rows(&[(&long, 200), ("/sumdb/../x/supported", 200)]), &[]);
    assert!(refused.refused()[0].ends_with("its path is too long for a file"));
    assert!(
        refused.refused()[1].ends_with("the name of its checksum database is not a valid path")
    );
}

proptest! {
    #[test]
    fn any_request_has_a_file_below_the_folder_or_none(path in "(/(\\.\\.|%2e%2e|sumdb|sum.golang.org|lookup|tile|8|@v|@latest|list|supported|a\\.b|!c|C|x001|001\\.p|3|v1\\.0\\.0|%00|%2f|\\\\|con|)[a-z@.!%]{0,3}){0,9}(\\.zip)?") {
        let found = catalog(&rows(&[(&path, 200)]), &[]);
        let made = found.made();
        let made = made.iter().map(|(path, _)| path.as_str());
        for path in found.files().keys().map(String::as_str).chain(made) {
            // A version may have a `%` (x/mod's `EscapeVersion`), a module path may not.
            let is_name = |name: &str| !name.is_empty() && name.len() <= NAME_LIMIT
                && !name.starts_with("..") && name != "." && !name.contains(['\0', '\\']);
            prop_assert!(path.split('/').all(is_name), "{}", path);
            let module = path.split("/@v/").next().unwrap_or_default();
            prop_assert!(!module.contains('%'), "{}", path);
        }
    }
}
