//! What is made for shells, loaded by shells.

use std::fs;
use std::path::Path;

use super::{LIMIT, stdout};
use crate::support::{Sandbox, run, skipped};

#[test]
fn shells_load_their_completions() {
    let sandbox = Sandbox::new();
    // What bash does for `modtape rec<Tab>` and `modtape export --har-bodies <Tab>`.
    const BASH: &str = r#"
        source ./bash && complete -p modtape
        tab() { COMP_WORDS=("$@") COMP_CWORD=$(($# - 1)) COMPREPLY=(); _modtape modtape "${@: -1}" "${@: -2:1}"; echo "${COMPREPLY[@]}"; }
        tab modtape rec; tab modtape export --har-bodies ''"#;
    let scripts = [
        ("bash", &["-c", BASH][..], "-F _modtape modtape\n"),
        ("zsh", &["-n", "./zsh"], ""),
        ("fish", &["--no-execute", "./fish"], ""),
    ];
    for (shell, args, told) in scripts {
        let script = stdout(&sandbox, &["completions", shell]);
        fs::write(sandbox.join(shell), script).expect("our own folder");
        if !Path::new("/usr/bin").join(shell).exists() {
            skipped(&format!("completions: there is no {shell}"));
            continue;
        }
        let mut command = sandbox.command(shell);
        command.args(args);
        let output = run(command, LIMIT).expect_success();
        assert_eq!(output.stderr, "", "{shell}");
        assert!(output.stdout.contains(told), "{shell}: {}", output.stdout);
        if shell == "bash" {
            let tail = "\nrecord recordings\nall small none\n";
            assert!(output.stdout.ends_with(tail), "{}", output.stdout);
        }
    }
}
