//! The files that the go command keeps settings in: that of `go env -w`, and `go.env` of an installation.

use std::collections::BTreeMap;
use std::path::Path;

use crate::files::read_small;

/// The largest file that is read, bytes.
const FILE: u64 = 1 << 20;

/// Reads `NAME=value` lines as cmd/go does (`cfg.readEnvFile`); nothing of a file that cannot be read.
pub(crate) fn read_env_file(path: &Path) -> BTreeMap<String, String> {
    let bytes = read_small(path, FILE).unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes);
    let settings = text
        .split('\n')
        .filter(|line| line.starts_with(|c: char| c.is_ascii_uppercase()));
    let settings = settings.filter_map(|line| line.split_once('='));
    settings
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_read_as_go_reads_them() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("env");
        let text = "# GOPROXY=off\nGOPROXY=https://a.example,direct\n\ngoflags=-x\nGOSUMDB\nGOPRIVATE=a=b\nGOPROXY=direct";
        std::fs::write(&path, text).unwrap();
        let expected = [("GOPROXY", "direct"), ("GOPRIVATE", "a=b")];
        let owned = |(name, value): (&str, &str)| (name.to_owned(), value.to_owned());
        assert_eq!(read_env_file(&path), expected.map(owned).into());
        for other in [
            temp.path(),
            &temp.path().join("none"),
            Path::new("/dev/zero"),
        ] {
            assert_eq!(read_env_file(other), BTreeMap::new());
        }
    }
}
