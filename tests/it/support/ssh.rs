//! A real server for ssh.

use std::net::SocketAddr;
use std::path::Path;

use super::client::LIMIT;
use super::corpus::skipped;
use super::sandbox::{Sandbox, run};
use super::spawned::Spawned;

/// A real server for ssh, with a new key, and with `user`, a key that it accepts; `None` where there is none, or
/// this is not root. For a test with mounts of its own.
pub fn sshd(server: &Sandbox, at: SocketAddr) -> Option<Spawned> {
    let path = Path::new("/usr/sbin/sshd");
    if !path.exists() || !rustix::process::geteuid().is_root() {
        skipped("no sshd here, or this is not root");
        return None;
    }
    let script =
        "mount -t tmpfs tmpfs /run && mkdir /run/sshd && ssh-keygen -q -t ed25519 -N '' -f key
         ssh-keygen -q -t ed25519 -N '' -f user
         test ! -d ~root/.ssh || mount -t tmpfs tmpfs ~root/.ssh";
    let mut made = server.command("sh");
    made.args(["-ec", script]).current_dir(server.path());
    run(made, LIMIT).expect_success();
    let mut sshd = server.command(path);
    let key = format!("HostKey={}", server.join("key").display());
    let listen = format!("ListenAddress={at}");
    let accepted = format!("AuthorizedKeysFile={}", server.join("user.pub").display());
    sshd.args(["-D", "-e", "-f", "/dev/null"]);
    let settings = [
        &*key,
        &listen,
        &accepted,
        "PidFile=none",
        // The folder is below one that anybody may write to.
        "StrictModes=no",
        "PermitRootLogin=prohibit-password",
    ];
    for setting in settings {
        sshd.args(["-o", setting]);
    }
    let sshd = Spawned::start(sshd);
    sshd.wait_for_stderr("Server listening");
    Some(sshd)
}
