//! The recipes of docs/containers.md, in networks, mounts and environments like those that they are for.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use modtape::recording::Recording;
use rustix::process::Signal;

use crate::record::{assert_same, recording};
use crate::support::*;
use crate::transparent::{REMOTE, has_rules, names};

const LIMIT: Duration = Duration::from_secs(120);

/// The code block in `language` below the heading that begins with `heading`.
fn block(heading: &str, language: &str) -> String {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/containers.md");
    let page = fs::read_to_string(page).expect("the page is there");
    let section = page.split("\n## ").find(|it| it.starts_with(heading));
    let section = section.expect("the recipe is there");
    let opening = format!("```{language}\n");
    let code = section.split_once(&opening);
    let code = code.and_then(|(_, rest)| rest.split("```").next());
    code.expect("the code is there").to_owned()
}

/// The folder of the programs that a recipe finds: `docker`, `go`, and a modtape that connects as the flag `to` says
/// and trusts this root.
fn programs(sandbox: &Sandbox, to: &str, root: &Path, go: &Path) -> PathBuf {
    let folder = sandbox.join("programs");
    fs::create_dir(&folder).expect("our own folder");
    let docker = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/containers/docker");
    let modtape = format!(
        "#!/bin/sh\nverb=$1; shift\ncase $verb in record) set -- {to} --upstream-ca '{}' \"$@\";; esac\n\
         exec '{}' \"$verb\" \"$@\"\n",
        root.display(),
        tested().display(),
    );
    let script = folder.join("modtape");
    fs::write(&script, modtape).expect("our own file");
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).expect("our own file");
    std::os::unix::fs::symlink(docker, folder.join("docker")).expect("our own folder");
    std::os::unix::fs::symlink(go, folder.join("go")).expect("our own folder");
    folder
}

/// The project `hello`, an origin that has all of its modules, and the programs that lead there.
struct World {
    sandbox: Sandbox,
    project: PathBuf,
    origin: Origin,
    go: PathBuf,
    programs: PathBuf,
}

impl World {
    /// `None` where something is not here.
    fn new() -> Option<Self> {
        let content = Content::corpus("hello", Sumdb::Heads)?;
        let sandbox = Sandbox::new();
        let go = sandbox.go("1.27")?;
        let project = sandbox.project("hello")?;
        let origin = Origin::start(content);
        let to = format!("--connect-to ::127.0.0.1:{}", origin.addr().port());
        Some(Self {
            programs: programs(&sandbox, &to, origin.root_pem_path(), &go),
            sandbox,
            project,
            origin,
            go,
        })
    }

    /// Runs a text as a script of bash in the project's folder.
    fn script(&self, text: &str) -> Output {
        let mut bash = self.sandbox.command("bash");
        bash.args(["-euo", "pipefail", "-c", text]);
        bash.current_dir(&self.project);
        bash.env("PATH", search_path(&[&self.programs]));
        bash.env("GO", self.go.parent().expect("go has a folder"));
        run(bash, LIMIT)
    }
}

/// Plays a recipe of `docker build`: all that the build fetches is recorded, and nothing else came.
fn docker_build(heading: &str) {
    let Some(world) = World::new() else { return };
    fs::write(
        world.project.join("Dockerfile"),
        block(heading, "Dockerfile"),
    )
    .expect("our own file");
    world.script(&block(heading, "sh")).expect_success();
    let recording = recording(&world.sandbox, "build");
    assert!(!recording.rows().is_empty());
    assert_same(&recording, &world.origin);
}

#[test]
fn a_docker_build_needs_no_certificate() {
    alone("containers::a_docker_build_needs_no_certificate", || {
        docker_build("A Docker build, without a certificate");
    });
}

#[test]
fn a_docker_build_trusts_a_secret() {
    alone("containers::a_docker_build_trusts_a_secret", || {
        docker_build("A Docker build through HTTPS_PROXY");
    });
}

/// The containers of the pod share this test's network; its user is root, the only one that there is here.
#[test]
fn a_sidecar_sees_programs_that_know_no_proxy() {
    let test = "containers::a_sidecar_sees_programs_that_know_no_proxy";
    alone(test, || {
        let Some(content) = Content::corpus("hello", Sumdb::Heads) else {
            return;
        };
        let sandbox = Sandbox::new();
        let Some(go) = sandbox.go("1.27") else { return };
        if sandbox.project("hello").is_none() || !has_rules(test, "nft") {
            return;
        }
        let hosts = [("proxy.golang.org", REMOTE), ("sum.golang.org", REMOTE)];
        names(&sandbox, &hosts);
        let at = format!("{REMOTE}:443").parse().expect("an address");
        let origin = Origin::builder(content).at(at).start();
        // The kernel knows where its connections were bound for.
        let programs = programs(&sandbox, "", origin.root_pem_path(), &go);
        let yaml = block("A sidecar that sees a whole pod", "yaml");
        let shared = sandbox.join("shared");
        fs::create_dir(&shared).expect("our own folder");
        let here = |text: &str| {
            let text = text.replace("/modtape/", &format!("{}/", shared.display()));
            text.replace("65532", "0")
                .replace("exec sleep", "echo ready; exec sleep")
        };
        let (_, args) = yaml.split_once("        - |\n").expect("its script");
        let args: String = args
            .lines()
            .take_while(|line| line.starts_with("          "))
            .map(|line| format!("{}\n", line.trim_start()))
            .collect();
        let mut sidecar = sandbox.command("sh");
        sidecar.args(["-c", &here(&args)]).current_dir(&shared);
        sidecar.env("PATH", search_path(&[&programs]));
        let sidecar = Spawned::start(sidecar);
        sidecar.wait_for_stdout("ready");
        let mut build = sandbox.command(&go);
        build.args(["mod", "download"]);
        build.env("SSL_CERT_FILE", shared.join("ca.pem"));
        run(build, LIMIT).expect_success();
        sidecar.signal(Signal::TERM);
        drop(sidecar.end());
        let recording = Recording::open(&shared.join("recordings/pod")).expect("it opens");
        assert!(!recording.rows().is_empty());
        assert_same(&recording, &origin);
    });
}

/// The commands of a job, each in a shell of its own.
fn job(heading: &str, marker: &str) {
    let Some(world) = World::new() else { return };
    let yaml = block(heading, "yaml");
    let commands = yaml
        .lines()
        .filter_map(|line| line.trim_start().strip_prefix(marker));
    let commands: Vec<&str> = commands
        .filter(|line| line.starts_with("modtape "))
        .collect();
    assert_eq!(commands.len(), 3, "{yaml}");
    for command in commands {
        let summary = "export GITHUB_STEP_SUMMARY=summary";
        world
            .script(&format!("{summary}\n{command}"))
            .expect_success();
    }
    assert_same(&recording(&world.sandbox, "build"), &world.origin);
    // What the job keeps.
    assert!(yaml.contains("recordings/build"), "{yaml}");
    assert!(
        world
            .project
            .join("recordings/build/journal.ndjson")
            .is_file()
    );
    let has_summary =
        fs::read_to_string(world.project.join("summary")).is_ok_and(|it| it.contains('#'));
    assert_eq!(has_summary, yaml.contains("GITHUB_STEP_SUMMARY"));
}

#[test]
fn a_job_of_github_actions_records_and_reports() {
    job("GitHub Actions", "- run: ");
}

#[test]
fn a_job_of_gitlab_records_and_verifies() {
    job("GitLab", "- ");
}
