//! Command lines and go's settings.

use super::*;

#[test]
fn command_lines_lose_their_secrets() {
    for (argv, expected) in [
        ("go mod tidy -v", "go mod tidy -v"),
        (
            "go build -ldflags=-X=main.version=1.2 ./...",
            "go build -ldflags=-X=main.version=1.2 ./...",
        ),
        ("x --token hunter2 y", "x --token * y"),
        (
            "x --password=hunter2 -api-key hunter2",
            "x --password=* -api-key *",
        ),
        ("x --token --verbose y", "x --token --verbose y"),
        (
            "env GITHUB_TOKEN=hunter2 NETRC=/n go get",
            "env GITHUB_TOKEN=* NETRC=/n go get",
        ),
        (
            "env GOPROXY=https://u:p@a.b|direct",
            "env GOPROXY=https://*@a.b|direct",
        ),
        (
            "env HTTPS_PROXY=u:hunter2@p.corp:3128",
            "env HTTPS_PROXY=*@p.corp:3128",
        ),
        (
            "git clone https://u:p@a.b/c.git",
            "git clone https://*@a.b/c.git",
        ),
        (
            "curl -u user:hunter2 -H X-Api-Key:hunter2",
            "curl -u * -H X-Api-Key:*",
        ),
        ("go get example.com/m@v1.0.0", "go get example.com/m@v1.0.0"),
    ] {
        let words: Vec<_> = argv.split(' ').collect();
        let redacted = redactor().argv(&words);
        assert_eq!(starred(&redacted.join(" ")), expected);
        assert_eq!(redactor().argv(&redacted), redacted, "twice");
        assert_eq!(Redactor::off().argv(&words), words);
    }
    let words = [
        "curl",
        "-H",
        "Authorization: Basic dXNlcjpw",
        "sh",
        "-c",
        "TOKEN=hunter2 go get",
        "-uuser:hunter2",
        "--user=user:hunter2",
        "-b",
        "sid=hunter2",
        "curl -u user:hunter2 -v",
        "https://u:hun ter2@h/",
        "-H",
        "X-Via: u:hunter2@a.corp=https://u:hunter2@b.corp,direct",
        "u:hunter2@a.corp,token=hunter2",
    ];
    let expected = [
        "curl",
        "-H",
        "Authorization: Basic *",
        "sh",
        "-c",
        "TOKEN=*",
        "-u*",
        "--user=*",
        "-b",
        "sid=*",
        "curl -u * -v",
        "https://*@h/",
        "-H",
        "X-Via: *@a.corp=https://*@b.corp,direct",
        "*@a.corp,token=*",
    ];
    let redacted = redactor().argv(&words.map(std::ffi::OsString::from));
    assert_eq!(
        redacted.iter().map(|w| starred(w)).collect::<Vec<_>>(),
        expected
    );
}

#[test]
fn settings_keep_their_separators() {
    for (value, expected) in [
        (
            "https://u:p@a.b/x,https://c.d|direct",
            "https://*@a.b/x,https://c.d|direct",
        ),
        (
            "https://a.b , https://u:p@c.d",
            "https://a.b , https://*@c.d",
        ),
        (
            "sums.corp+0a0b0c0d+AZ09 https://u:p@sums.corp",
            "sums.corp+0a0b0c0d+AZ09 https://*@sums.corp",
        ),
        ("https://u:p,q|r s@a.b|direct", "https://*@a.b|direct"),
        ("off", "off"),
        ("", ""),
    ] {
        assert_eq!(starred(&redactor().goproxy(value)), expected);
    }
}
