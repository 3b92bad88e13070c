//! The terminal of a command in a namespace: it is the command's own, and stops and continues with modtape.

use super::*;

/// Keys as they are typed.
const CTRL_Z: &[u8] = b"\x1a";
const CTRL_C: &[u8] = b"\x03";

/// Both, since the one is what the other has to be like.
const MODES: [&str; 2] = ["", "--netns"];

#[test]
fn ctrl_z_stops_both_and_fg_continues_both() {
    let name = "ctrl_z_stops_both_and_fg_continues_both";
    if !has_namespaces(name) || !has_program("bash") {
        return;
    }
    for mode in MODES {
        let sandbox = Sandbox::new();
        // The command reads from the terminal: in the background the terminal would stop it.
        std::fs::write(
            sandbox.join("command"),
            "trap 'echo continued' CONT; echo ready; read -r line || read -r line; echo \"got $line\"; exit 42\n",
        )
        .expect("our own folder");
        // Its prompts have numbers. Without line editing the terminal stays in one mode.
        let shell = "PS1='next\\#> ' exec bash --norc --noprofile --noediting -i";
        let Some(mut terminal) = Spawned::on_a_terminal(&sandbox, shell) else {
            return;
        };
        let record = format!("\"$MODTAPE\" record {mode} -o one -- sh command\n");
        terminal.wait_for_stdout("next1> ");
        terminal.type_keys(record.as_bytes());
        terminal.wait_for_stdout("ready");
        terminal.type_keys(CTRL_Z);
        let stopped = terminal.wait_for_stdout("next2> ");
        assert!(stopped.contains("Stopped"), "{stopped}");
        terminal.type_keys(b"fg\n");
        terminal.wait_for_stdout("continued");
        terminal.type_keys(b"typed\n");
        terminal.wait_for_stdout("next3> ");
        terminal.type_keys(b"echo code=$?; exit\n");
        let output = terminal.end();
        assert!(
            output.stdout.contains("got typed") && output.stdout.contains("code=42"),
            "{mode}: {}",
            output.stdout
        );
        let recording = Recording::open_whole(&sandbox.join("recordings/one"));
        let recording = recording.unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(recording.manifest().exit_code, Some(42));
    }
}

#[test]
fn ctrl_c_on_a_terminal_reaches_the_command_in_its_namespace_once() {
    let name = "ctrl_c_on_a_terminal_reaches_the_command_in_its_namespace_once";
    if !has_namespaces(name) {
        return;
    }
    for (script, code) in [
        ("echo ready; exec sleep 600", 130),
        (
            "trap 'echo interrupted; exit 7' INT; echo ready; read -r line; read -r line",
            7,
        ),
    ] {
        let sandbox = Sandbox::new();
        std::fs::write(sandbox.join("command"), script).expect("our own folder");
        let record = "exec \"$MODTAPE\" record --netns -o one -- sh command";
        let Some(mut terminal) = Spawned::on_a_terminal(&sandbox, record) else {
            return;
        };
        terminal.wait_for_stdout("ready");
        terminal.type_keys(CTRL_C);
        let output = terminal.end();
        assert_eq!(output.status.code(), Some(code), "{}", output.stdout);
        let heard = output.stdout.matches("interrupted").count();
        assert_eq!(heard, usize::from(code == 7), "{}", output.stdout);
        assert_eq!(recorded(&sandbox, "one").manifest().exit_code, Some(code));
    }
}

#[test]
fn a_signal_that_ends_the_command_is_its_exit_code() {
    let name = "a_signal_that_ends_the_command_is_its_exit_code";
    if !has_namespaces(name) {
        return;
    }
    for (signal, code) in [("KILL", 137), ("TERM", 143), ("SEGV", 139), ("ABRT", 134)] {
        for user in USERS {
            let sandbox = Sandbox::new();
            let script = format!("kill -{signal} $$");
            let args = ["record", "--netns", "-o", "one", "--", "sh", "-c", &script];
            let output = run(user.modtape(&sandbox, &args), LIMIT);
            assert_eq!(
                output.status.code(),
                Some(code),
                "{user:?}: {}",
                output.stderr
            );
        }
    }
}
