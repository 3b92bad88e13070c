//! Where a HAR may go: into files, through links, to devices and pipes, all of which stay what they are.

use std::fs::{self, File};
use std::io::Read as _;
use std::os::unix::fs::{FileTypeExt as _, symlink};

use rustix::fs::{Mode, OFlags};

use super::modtape;
use crate::support::{Sandbox, program};

#[test]
fn a_har_goes_where_a_link_leads_and_to_devices_and_pipes_as_they_are() {
    let sandbox = Sandbox::new();
    fs::write(sandbox.join("file"), "old").expect("a file");
    symlink("file", sandbox.join("link")).expect("a link");
    symlink("/dev/null", sandbox.join("null")).expect("a link");
    for to in ["link", "null"] {
        let har = format!("--har={to}");
        modtape(&sandbox, &["record", &har, "--", "true"]).expect_success();
        let path = sandbox.join(to);
        assert!(path.is_symlink(), "{to}");
    }
    let har = fs::read_to_string(sandbox.join("file")).expect("it is there");
    assert!(har.contains("\"log\""), "{har}");
    let null = fs::metadata(sandbox.join("null")).expect("it leads somewhere");
    assert!(null.file_type().is_char_device());
}

#[test]
fn a_har_goes_to_whoever_reads_a_pipe_and_waits_for_nobody() {
    let sandbox = Sandbox::new();
    let pipe = sandbox.join("pipe");
    let made = program("mkfifo").arg(&pipe).status();
    assert!(made.is_ok_and(|made| made.success()), "mkfifo");
    let record = ["record", "--har=pipe", "--", "sh", "-c", "exit 7"];
    let alone = modtape(&sandbox, &record);
    assert_eq!(alone.status.code(), Some(7), "{}", alone.stderr);
    let told = "cannot write pipe: no process reads this pipe";
    assert!(alone.stderr.contains(told), "{}", alone.stderr);
    let flags = OFlags::RDONLY | OFlags::NONBLOCK;
    let reader = rustix::fs::open(&pipe, flags, Mode::empty()).expect("our own pipe");
    let heard = modtape(&sandbox, &record);
    assert_eq!(heard.status.code(), Some(7), "{}", heard.stderr);
    let mut har = String::new();
    let read = File::from(reader).read_to_string(&mut har);
    read.expect("whoever wrote is gone");
    assert!(har.contains("\"log\""), "{har}");
}
