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
        ("env DB_PASS=hunter2 PASS=hunter2", "env DB_PASS=* PASS=*"),
        (
            "env SSH_KEY=hunter2 COSIGN_KEY=hunter2",
            "env SSH_KEY=* COSIGN_KEY=*",
        ),
        ("x --pass hunter2 --pw=hunter2", "x --pass * --pw=*"),
        ("mysql -phunter2 -u root db", "mysql -p* -u root db"),
        (
            "/usr/bin/sshpass -p hunter2 ssh h",
            "/usr/bin/sshpass -p * ssh h",
        ),
        (
            "docker login -u me -p hunter2 h",
            "docker login -u me -p * h",
        ),
        (
            "curl -bsid=hunter2 -HX-Api-Key:hunter2",
            "curl -bsid=* -HX-Api-Key:*",
        ),
        ("http h Cookie:sid=hunter2", "http h Cookie:*"),
        (
            "az --connection-string AccountName=a;AccountKey=AbC1dEf==",
            "az --connection-string AccountName=a;AccountKey=*",
        ),
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
        "TOKEN=* go get",
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
fn ordinary_command_lines_stay() {
    for argv in [
        "train --tokenizer=bpe --max-tokens=100",
        "go test -run=TestToken:x -bench=. -benchtime=5x ./...",
        "go build -buildvcs=false -ldflags=-X=main.build=8f3c2b1a9d8e7f6a -p 4",
        "go build -pgo=default.pgo -buildmode=pie",
        "docker run -u 1000:1000 -p 8080:80 -e PWD=/src img",
        "mkdir -p hunter2/dir1",
        "mysql -p -u root db1",
        "x --token-file /run/secrets/t1 --ssh-key ~/.ssh/id_1",
        "x --cache-key Abc123def --public-key Abc123def --key server1.pem",
        "env BYPASS=Abc123def key=Abc123def go version",
        "git -c http.cookieFile=/c1 log",
        "tar -C /tmp -b 20 -H pax",
    ] {
        let words: Vec<_> = argv.split(' ').collect();
        assert_eq!(redactor().argv(&words), words);
    }
}

#[test]
fn a_shells_line_is_read_word_by_word() {
    for (line, expected) in [
        (
            "curl -H 'Cookie: s=hunter2' https://h/",
            "curl -H 'Cookie: s=*' https://h/",
        ),
        (
            "curl -H \"Authorization: Bearer hunter2\" -b 'a=hunter2; b=hunter2' https://h/",
            "curl -H \"Authorization: Bearer *\" -b 'a=*; b=*' https://h/",
        ),
        (
            "curl --header='X-Api-Key: hunter2' h",
            "curl '--header=X-Api-Key: *' h",
        ),
        (
            "export DB_PASS='hunter2 hunter2'; mysql -phunter2 db",
            "export DB_PASS=*; mysql -p* db",
        ),
        (
            "env -i sh -c \"curl -H 'Cookie: s=hunter2' h\"",
            "env -i sh -c \"curl -H 'Cookie: s=*' h\"",
        ),
        (
            "curl -u me:hunter2 h && echo done",
            "curl -u * h && echo done",
        ),
        ("TOKEN=hunter2 go mod download", "TOKEN=* go mod download"),
        ("Cookie: s=hunter2", "Cookie: s=*"),
        (
            "echo 'unfinished TOKEN=hunter2",
            "echo 'unfinished TOKEN=*'",
        ),
        (
            "go build ./... && echo 'done it'",
            "go build ./... && echo 'done it'",
        ),
    ] {
        let words = ["sh", "-c", line];
        let redacted = redactor().argv(&words);
        assert!(!redacted[2].contains("hunter2"), "{}", redacted[2]);
        assert_eq!(starred(&redacted[2]), expected);
        assert_eq!(redactor().argv(&redacted), redacted, "twice");
    }
    let spaced = redactor().argv(&["env", "PASSWORD=hunter2 hunter3", "go", "version"]);
    assert_eq!(starred(&spaced.join(" ")), "env PASSWORD=* go version");
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
