//! A client on another machine: nothing answers it, unless the user asked for that, and then only
//! with the token.

use super::super::support::{FAR, LIMIT, Origin, Sandbox, alone, run};

/// After [`FAR`]: tells how a CONNECT from there ends: the status, or that nothing listens: a RST, no SYN-ACK.
const SCRIPT: &str = r#"
    address=${HTTPS_PROXY##*@}; address=${address#http://}; port=${address##*:}
    ask() {
        far bash -c '{ exec 3<>/dev/tcp/192.0.2.1/$0; } 2>said || {
                grep -q "Connection refused" said && echo refused || cat said
                exit
            }
            printf "CONNECT named.example:443 HTTP/1.1\r\n$1\r\n" >&3
            read -r version status rest <&3; echo "$status"' "$port" "$1"
    }
    ask ''
    ask 'Proxy-Authorization: Bearer wrong\r\n'
    ask "Proxy-Authorization: Bearer $TOKEN\r\n"
"#;

#[test]
fn another_machine_gets_no_answer_without_a_listener_for_it_and_407_with_one() {
    let name = "reach::remote_clients::\
        another_machine_gets_no_answer_without_a_listener_for_it_and_407_with_one";
    alone(name, || {
        let origin = Origin::start(Default::default());
        let (token, root) = (
            super::TOKEN,
            origin.root_pem_path().to_string_lossy().into_owned(),
        );
        let connect = format!(
            "--connect-to=named.example::127.0.0.1:{}",
            origin.addr().port()
        );
        let set = format!("--token={token}");
        for (flags, expected) in [
            (&[][..], "refused\n".repeat(3)),
            (&[&set[..]], "refused\n".repeat(3)),
            (&[&set, "--listen=0.0.0.0"], String::from("407\n407\n200\n")),
            (&[&set, "--listen=[::]"], String::from("407\n407\n200\n")),
        ] {
            let (sandbox, script) = (Sandbox::new(), format!("{FAR}{SCRIPT}"));
            let fixed = ["record", "-o", "one", "--upstream-ca", &root, &connect];
            let args = fixed.into_iter().chain(flags.iter().copied());
            let mut command = sandbox.modtape(args.chain(["--", "bash", "-c", &script]));
            command.env("TOKEN", token);
            let output = run(command, LIMIT * 2);
            assert_eq!(output.stdout, expected, "{flags:?}: {}", output.stderr);
        }
    });
}
