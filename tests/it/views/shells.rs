//! What is made for shells, loaded by shells.

use std::fs;

use super::{LIMIT, stdout};
use crate::support::{Sandbox, has_program, run, skipped, tested};

#[test]
fn shells_load_their_completions() {
    let sandbox = Sandbox::new();
    for name in ["ci", "tidy-1122-0452", "$(touch pwned)"] {
        super::sample::write(&sandbox.join("recordings").join(name));
    }
    // What bash does for `modtape rec<Tab>` and so on.
    const BASH: &str = r#"
        source ./bash && complete -p modtape
        modtape() { "$MODTAPE" "$@"; }
        tab() { COMP_WORDS=("$@") COMP_CWORD=$(($# - 1)) COMPREPLY=(); _modtape modtape "${@: -1}" "${@: -2:1}"; echo "${COMPREPLY[@]}"; }
        tab modtape rec; tab modtape export --har-bodies ''
        tab modtape report ''; tab modtape -q why rsc.io/quote t; tab modtape report --format ''
        tab modtape recordings info c; tab modtape status --recording c; tab modtape record -- go c
        tab modtape --recordings nowhere ls ''; tab modtape help MT10; tab modtape report --fail-on st"#;
    const TABS: &str = "
record recordings
all small none
@last ci tidy-1122-0452
tidy-1122-0452
text markdown json html
ci
ci

@last
MT101 MT102 MT103 MT104 MT105 MT106 MT107 MT108 MT109
stall
";
    let scripts = [
        ("bash", &["-c", BASH][..], "-F _modtape modtape\n"),
        ("zsh", &["-n", "./zsh"], ""),
        ("fish", &["--no-execute", "./fish"], ""),
    ];
    for (shell, args, told) in scripts {
        let script = stdout(&sandbox, &["completions", shell]);
        fs::write(sandbox.join(shell), script).expect("our own folder");
        if !has_program(shell) {
            skipped(&format!("completions: there is no {shell}"));
            continue;
        }
        let mut command = sandbox.command(shell);
        command.args(args).env("MODTAPE", tested());
        let output = run(command, LIMIT).expect_success();
        assert_eq!(output.stderr, "", "{shell}");
        assert!(output.stdout.contains(told), "{shell}: {}", output.stdout);
        if shell == "bash" {
            assert!(output.stdout.ends_with(TABS), "{}", output.stdout);
            assert!(!sandbox.join("pwned").exists());
        }
    }
}
