//! Why there is no namespace, and which switch of the system says so.

use std::io;

use serde::{Deserialize, Serialize};

/// A step of setting a namespace up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Step {
    /// unshare(2)
    Unshare,
    /// Writing which user and group are those outside.
    Map,
    /// Hiding the sockets of name services.
    Mount,
    /// Links, addresses and routes.
    Links,
    /// Binding the listeners.
    Listeners,
    /// The nftables table.
    Filter,
}

/// What the system refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("cannot set up a network namespace: {}: {}", self.step.name(), io::Error::from_raw_os_error(self.errno))]
pub(crate) struct Refusal {
    pub(crate) step: Step,
    pub(crate) errno: i32,
}

/// Why no command runs in a namespace.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AdmitError {
    /// The system does not allow it.
    #[error(transparent)]
    Refused(Refusal),
    /// The process inside is gone, or says what it should not.
    #[error("the process in the network namespace did not report")]
    NoReport(#[source] io::Error),
    /// The command could not be executed.
    #[error("the command could not be executed")]
    NotExecuted(#[source] io::Error),
}

/// Why the command did not start.
#[derive(Debug, thiserror::Error)]
pub(crate) enum EntryError {
    /// The recorder is not there.
    #[error("cannot reach the recorder")]
    NoRecorder(#[source] io::Error),
    /// The recorder was told why, and says it.
    #[error("the recorder says why")]
    Told,
}

/// What the system says of itself, as far as a refusal may lie in it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct System {
    /// Whether modtape runs as root.
    pub(crate) is_root: bool,
    /// `user.max_user_namespaces`
    pub(crate) user_namespaces: Option<u64>,
    /// `user.max_net_namespaces`
    pub(crate) net_namespaces: Option<u64>,
    /// `kernel.unprivileged_userns_clone`, where the kernel has it.
    pub(crate) unprivileged_clone: Option<u64>,
    /// `kernel.apparmor_restrict_unprivileged_userns`, where the kernel has it.
    pub(crate) apparmor_restricts: Option<u64>,
    /// Whether system calls are filtered (`Seccomp` in `/proc/self/status`), as in containers.
    pub(crate) is_filtered: bool,
}

impl Step {
    const fn name(self) -> &'static str {
        match self {
            Self::Unshare => "unshare",
            Self::Map => "mapping the user",
            Self::Mount => "hiding the host's name services",
            Self::Links => "links and routes",
            Self::Listeners => "listeners",
            Self::Filter => "nf_tables",
        }
    }
}

impl Refusal {
    pub(super) fn of(step: Step, error: &io::Error) -> Self {
        let errno = error.raw_os_error().unwrap_or_default();
        Self { step, errno }
    }

    /// What to do about it.
    pub(crate) fn advice(&self, system: &System) -> String {
        const ROOT: &str = "or run modtape as root";
        let zero = |setting: Option<u64>| setting == Some(0);
        if self.step == Step::Filter && !self.is_denied() {
            return String::from(
                "the kernel needs nf_tables with nft_nat, nft_redir and nft_fib_inet: \
                 `sudo modprobe -a nf_tables nft_redir nft_fib_inet nft_chain_nat`",
            );
        }
        if zero(system.net_namespaces) {
            return String::from("`sudo sysctl user.max_net_namespaces=65536` allows it");
        }
        if !system.is_root && zero(system.user_namespaces) {
            return format!("`sudo sysctl user.max_user_namespaces=65536` allows it, {ROOT}");
        }
        if !system.is_root && zero(system.unprivileged_clone) {
            return format!("`sudo sysctl kernel.unprivileged_userns_clone=1` allows it, {ROOT}");
        }
        if !system.is_root
            && system
                .apparmor_restricts
                .is_some_and(|restricts| restricts != 0)
        {
            return format!(
                "`sudo sysctl kernel.apparmor_restrict_unprivileged_userns=0` allows it, and so does an AppArmor \
                 profile with `userns,` for modtape; {ROOT}"
            );
        }
        if system.is_filtered && self.is_denied() {
            return String::from(
                "a seccomp filter denies it, as in Docker's default profile: `docker run --cap-add SYS_ADMIN \
                 --cap-add NET_ADMIN --security-opt apparmor=unconfined` allows it; or leave --netns out",
            );
        }
        if self.is_limit() {
            return String::from(
                "too many namespaces exist: see /proc/sys/user/max_net_namespaces and max_user_namespaces",
            );
        }
        match system.is_root {
            true => String::from(
                "it takes CAP_SYS_ADMIN and CAP_NET_ADMIN, or a kernel with user namespaces (CONFIG_USER_NS)",
            ),
            false => format!(
                "it takes a kernel with user and network namespaces (CONFIG_USER_NS, CONFIG_NET_NS), {ROOT}"
            ),
        }
    }

    /// EPERM or EACCES.
    fn is_denied(&self) -> bool {
        let kind = io::Error::from_raw_os_error(self.errno).kind();
        kind == io::ErrorKind::PermissionDenied
    }

    /// ENOSPC: unshare(2).
    fn is_limit(&self) -> bool {
        let kind = io::Error::from_raw_os_error(self.errno).kind();
        kind == io::ErrorKind::StorageFull
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EPERM: i32 = 1;
    const ENOENT: i32 = 2;
    const ENOSPC: i32 = 28;

    #[test]
    fn each_refusal_names_the_switch() {
        let user = System::default();
        let root = System {
            is_root: true,
            ..System::default()
        };
        let with = |change: fn(&mut System)| {
            let mut system = System {
                user_namespaces: Some(1000),
                net_namespaces: Some(1000),
                ..System::default()
            };
            change(&mut system);
            system
        };
        for (step, errno, system, expected) in [
            (
                Step::Unshare,
                ENOSPC,
                with(|it| it.user_namespaces = Some(0)),
                "user.max_user_namespaces",
            ),
            (
                Step::Unshare,
                ENOSPC,
                with(|it| it.net_namespaces = Some(0)),
                "user.max_net_namespaces",
            ),
            (
                Step::Unshare,
                EPERM,
                with(|it| it.unprivileged_clone = Some(0)),
                "kernel.unprivileged_userns_clone=1",
            ),
            (
                Step::Map,
                EPERM,
                with(|it| it.apparmor_restricts = Some(1)),
                "kernel.apparmor_restrict_unprivileged_userns=0",
            ),
            (
                Step::Links,
                EPERM,
                with(|it| it.apparmor_restricts = Some(1)),
                "AppArmor",
            ),
            (
                Step::Unshare,
                EPERM,
                with(|it| it.is_filtered = true),
                "seccomp",
            ),
            (Step::Unshare, ENOSPC, user.clone(), "too many"),
            (Step::Unshare, EPERM, user, "CONFIG_USER_NS"),
            (Step::Unshare, EPERM, root.clone(), "CAP_SYS_ADMIN"),
            (Step::Filter, ENOENT, root, "modprobe"),
        ] {
            let advice = Refusal { step, errno }.advice(&system);
            assert!(advice.contains(expected), "{step:?} {errno}: {advice}");
        }
    }
}
