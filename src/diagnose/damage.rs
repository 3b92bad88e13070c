//! A damaged module in the module cache, in words, and how to be rid of it.

use std::path::Path;

use super::rights;
use crate::gomod::{escape_path, escape_version};
use crate::recording::caches::{Damage, Damaged};
use crate::shell;

/// What is wrong: `cache/download/a.b/c/@v/v1.0.0.zip is damaged: it is not a whole zip file`.
pub(crate) fn sentence(damaged: &Damaged) -> String {
    let Damaged { path, damage, .. } = damaged;
    match damage {
        Damage::Zip { why } | Damage::Tree { why } => format!("{path} is damaged: {why}"),
        Damage::Unreadable { why, .. } => format!("{path} cannot be read: {why}"),
        Damage::Ziphash { says, sum } => {
            format!("{path} says {says}, and the zip beside it has {sum}, as go.sum expects")
        }
        Damage::Content { sum, go_sum } => {
            format!("{path} has {sum}, and go.sum expects {go_sum}")
        }
    }
}

/// What to do about a module of the cache at `cache`, with a line for a shell.
pub(crate) fn advice(cache: &str, damaged: &Damaged) -> String {
    match &damaged.damage {
        Damage::Unreadable {
            forbidden: Some(forbidden),
            ..
        } => rights::advice(forbidden, cache, true),
        _ => {
            let cure = cure(cache, damaged);
            format!("`{cure}` removes it, and go fetches it again")
        }
    }
}

/// A command that removes what the cache at `cache` has of the module, so that go fetches it again.
fn cure(cache: &str, damaged: &Damaged) -> String {
    let Damaged {
        module, version, ..
    } = damaged;
    let escaped = escape_path(module).ok().zip(escape_version(version).ok());
    let Some((module, version)) = escaped else {
        return String::from("go clean -modcache");
    };
    let cache = Path::new(cache);
    let word = |path: &Path| shell::word(&path.to_string_lossy()).into_owned();
    let tree = word(&cache.join(format!("{module}@{version}")));
    let files = cache.join("cache/download").join(module).join("@v");
    // Of the file names only the ends differ; the folder of unpacked files is read-only.
    let files = word(&files.join(format!("{version}.")));
    format!("chmod -R u+w {tree}; rm -rf {tree} {files}*")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_removed_is_the_module_and_nothing_else() {
        let damaged = |module: &str| Damaged {
            module: module.into(),
            version: "v1.0.0".into(),
            path: "x".into(),
            damage: Damage::Zip { why: "y".into() },
        };
        assert_eq!(
            cure("/home/a b/mod", &damaged("a.b/C")),
            "chmod -R u+w '/home/a b/mod/a.b/!c@v1.0.0'; rm -rf '/home/a b/mod/a.b/!c@v1.0.0' \
             '/home/a b/mod/cache/download/a.b/!c/@v/v1.0.0.'*"
        );
        assert_eq!(cure("/mod", &damaged("../..")), "go clean -modcache");
    }
}
