//! Who is who in the user namespace of the command (user_namespaces(7)).
//!
//! Where the recorder may say so, everybody is themselves: the command of root is root, owns what root owns
//! and changes to other users, and yet has no rights over the namespaces outside. Anybody else may speak for
//! themselves alone.

use std::{fs, io};

use rustix::process::{getegid, geteuid};
use rustix::thread::{CapabilitySet, capabilities};

const MAPS: [&str; 2] = ["uid_map", "gid_map"];

/// Whether this process may map all users and groups that it knows into a namespace of its child.
pub(super) fn may_map_all() -> bool {
    // SETFCAP is what mapping root takes since Linux 5.12.
    let needed = CapabilitySet::SETUID | CapabilitySet::SETGID | CapabilitySet::SETFCAP;
    capabilities(None).is_ok_and(|held| held.effective.contains(needed))
}

/// The number of this process in the /proc that is mounted here, which may be that of another namespace of
/// processes than its own.
pub(super) fn own_number() -> io::Result<u32> {
    let link = fs::read_link("/proc/self")?;
    let number = link.to_str().and_then(|number| number.parse().ok());
    number.ok_or_else(|| io::ErrorKind::InvalidData.into())
}

/// Maps all users and groups that this process knows onto themselves, in the namespace of that process.
pub(super) fn map_all(process: u32) -> io::Result<()> {
    for map in MAPS {
        let known = fs::read_to_string(format!("/proc/self/{map}"))?;
        fs::write(format!("/proc/{process}/{map}"), onto_themselves(&known))?;
    }
    Ok(())
}

/// The lines that map what these lines map, and each number onto itself.
fn onto_themselves(known: &str) -> String {
    let ranges = known.lines().filter_map(|line| {
        let mut words = line.split_ascii_whitespace();
        let (first, length) = (words.next()?, words.nth(1)?);
        Some(format!("{first} {first} {length}\n"))
    });
    ranges.collect()
}

/// Maps the user and the group of this process onto themselves, in its new namespace.
pub(super) fn map_own(user: u32, group: u32) -> io::Result<()> {
    // Without this nobody but root may map a group.
    fs::write("/proc/self/setgroups", "deny")?;
    for (map, id) in MAPS.into_iter().zip([user, group]) {
        fs::write(format!("/proc/self/{map}"), format!("{id} {id} 1"))?;
    }
    Ok(())
}

/// The numbers of the user and the group, which are unknown once the process is in a new namespace.
pub(super) fn own() -> (u32, u32) {
    (geteuid().as_raw(), getegid().as_raw())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_range_is_mapped_onto_itself() {
        assert_eq!(
            onto_themselves("         0          0 4294967295\n"),
            "0 0 4294967295\n"
        );
        // A container's own.
        let known = "         0     100000       1000\n      1000       5000          1\n";
        assert_eq!(onto_themselves(known), "0 0 1000\n1000 1000 1\n");
        assert_eq!(onto_themselves(""), "");
    }
}
