//! What gives a user the rights that the go command needs in the module cache.

use std::borrow::Cow;

use crate::recording::caches::Forbidden;
use crate::shell;

/// The line for a shell, for something in the module cache at `cache`; if the cache does not exist, for the
/// folder above it. `None` for what another user owns, unless that is root: it is not ours to take.
pub(crate) fn line(forbidden: &Forbidden, cache: &str, exists: bool) -> Option<String> {
    let word = |path| -> Cow<'_, str> { shell::word(path) };
    match (forbidden.is_own, forbidden.owner) {
        // The X is for folders.
        (true, _) => Some(format!("chmod u+rwX {}", word(&forbidden.path))),
        (false, 0) if exists => Some(format!(
            r#"sudo chown -R "$(id -u):$(id -g)" {}"#,
            word(cache)
        )),
        // Folders above it may be the system's.
        (false, 0) => Some(format!(
            r#"sudo install -d -o "$(id -u)" -g "$(id -g)" {}"#,
            word(cache)
        )),
        (false, _) => None,
    }
}

/// Whose it is: `root`, `the user with the number 1000`.
pub(crate) fn owner(forbidden: &Forbidden) -> String {
    match (forbidden.is_own, forbidden.owner) {
        (true, _) => String::from("you"),
        (false, 0) => String::from("root"),
        (false, owner) => format!("the user with the number {owner}"),
    }
}

/// The line with its effect, or whom to ask.
pub(crate) fn advice(forbidden: &Forbidden, cache: &str, exists: bool) -> String {
    let Forbidden { path, .. } = forbidden;
    let owner = owner(forbidden);
    let elsewhere = "set GOMODCACHE to a folder of your own";
    match line(forbidden, cache, exists) {
        Some(line) if forbidden.is_own => {
            format!("`{line}`: you own it, and its mode forbids it")
        }
        Some(line) if exists => {
            format!(
                "`{line}` makes the cache yours, if it is: {path} belongs to {owner}, as `sudo go` leaves it; or {elsewhere}"
            )
        }
        Some(line) => {
            format!("{elsewhere}; or `{line}` makes that one: {path} belongs to {owner}")
        }
        None => {
            let path = shell::word(path);
            format!("ask {owner}, who owns {path} (`ls -ld {path}` has the name), or {elsewhere}")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_root_has_made_is_taken_from_another_user() {
        let of = |owner, is_own, exists| {
            let path = String::from("/go/pkg/mod/cache");
            let forbidden = Forbidden {
                path,
                owner,
                is_own,
            };
            line(&forbidden, "/go/pkg/mod", exists)
        };
        let own = "chmod u+rwX /go/pkg/mod/cache";
        assert_eq!(of(1000, true, true).as_deref(), Some(own));
        assert_eq!(of(0, true, true).as_deref(), Some(own));
        let taken = r#"sudo chown -R "$(id -u):$(id -g)" /go/pkg/mod"#;
        assert_eq!(of(0, false, true).as_deref(), Some(taken));
        let made = r#"sudo install -d -o "$(id -u)" -g "$(id -g)" /go/pkg/mod"#;
        assert_eq!(of(0, false, false).as_deref(), Some(made));
        assert_eq!(of(1001, false, true), None);
        assert_eq!(of(1001, false, false), None);
    }
}
