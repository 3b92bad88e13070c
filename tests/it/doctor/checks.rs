//! What is well is ok, and a fault shows in its own row.

use super::*;

#[test]
fn a_machine_that_is_well_has_no_fault_and_nothing_to_try() {
    for release in ["1.19", "1.27"] {
        let (sandbox, origin) = (Sandbox::new(), Origin::start(well()));
        let Some(doctor) = with_go(to(&sandbox, &origin), &sandbox, release) else {
            continue;
        };
        let told = Told::by(doctor);
        assert_eq!(told.faults(), [&Value::Null; 0]);
        assert_eq!(told.code, Some(0));
        assert_eq!(told.advice(), (String::new(), String::new()));
        for host in [PROXY, SUMDB] {
            told.is("tcp4", host, "ok", "IPv4 connects in ");
            told.is("tls", host, "ok", "TLS 1.3 in ");
            told.is(
                "tls",
                host,
                "ok",
                "issuer \"modtape test root\", until 2090-01-01",
            );
            told.is("tls", host, "ok", "trusted by --upstream-ca only");
            told.is("tls-post-quantum", host, "ok", "is answered in ");
            told.is("http", host, "ok", "HTTP/2");
        }
        told.is(
            "request",
            "https://proxy.golang.org",
            "ok",
            "first byte p50 ",
        );
        told.is("request", "https://sum.golang.org", "ok", "of 5");
        let supported = "does not relay the checksum database (404 in ";
        told.is(
            "sumdb-supported",
            "https://proxy.golang.org",
            "ok",
            supported,
        );
        told.is(
            "module-cache",
            text(&sandbox.join("modcache")),
            "ok",
            "can be written",
        );
        told.is("locks", text(&sandbox.join("modcache")), "ok", "nobody");
        let request = &told.row("request", "https://proxy.golang.org")["measured"];
        assert!(
            request["p50_us"].as_u64() <= request["max_us"].as_u64(),
            "{request}"
        );
        let mut paths = origin.paths();
        paths.sort();
        let expected = [&[SMALL; 5][..], &["/latest"; 5], &[SUPPORTED]].concat();
        assert_eq!(paths, expected);
    }
}
