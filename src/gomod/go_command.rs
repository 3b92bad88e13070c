//! The words of a go command: what it is told to do, before any of its settings.
//!
//! Source: cmd/go's `main.go` (`-C`), and `go help modules` (`-modfile`).

/// Whether a program, a name or a path, is a go command: `go`, `/usr/bin/go`, `go1.27.3`, `go.exe`.
pub(crate) fn is_go(program: &str) -> bool {
    let name = program.rsplit('/').next().unwrap_or_default();
    let name = name.strip_suffix(".exe").unwrap_or(name);
    let release = name.strip_prefix("go1.");
    name == "go" || release.is_some_and(|release| !release.is_empty())
}

/// The words behind `go`, of which the first are the verb, without `-C DIR`: `mod`, `tidy`, `-v` of
/// `go -C lib mod tidy -v`. `None` of another command, which may run any.
pub(crate) fn go_words(command: &[String]) -> Option<Vec<&str>> {
    let (program, words) = command.split_first()?;
    if !is_go(program) {
        return None;
    }
    let mut words: Vec<&str> = words.iter().map(String::as_str).collect();
    // It must be the first flag, before the verb or behind it.
    if let Some(at) = words.iter().position(|word| word.starts_with('-')) {
        match words[at].trim_start_matches('-') {
            "C" => drop(words.drain(at..words.len().min(at + 2))),
            flag if flag.starts_with("C=") => drop(words.remove(at)),
            _ => {}
        }
    }
    Some(words)
}

/// The file of `-modfile`: the last one counts, and the command's own flags come after those of GOFLAGS.
/// `words` are those behind `go`.
pub(crate) fn modfile<'a>(goflags: &'a str, words: &[&'a str]) -> Option<&'a str> {
    // What follows is a program's.
    let words = words.iter().copied();
    let words: Vec<&str> = words
        .take_while(|word| !["--", "-args"].contains(word))
        .collect();
    let flag = |word: &'a str| word.strip_prefix("--").or_else(|| word.strip_prefix('-'));
    let valued = |word: &'a str| flag(word)?.strip_prefix("modfile=");
    let own = words
        .iter()
        .enumerate()
        .filter_map(|(at, word)| match flag(word) {
            Some("modfile") => words.get(at + 1).copied(),
            _ => valued(word),
        });
    let goflags = goflags.split_ascii_whitespace();
    let found = goflags.filter_map(valued).chain(own).last();
    // The go command refuses others.
    found.filter(|file| file.ends_with(".mod"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_verb_is_found_wherever_the_folder_stands() {
        let words = |line: &'static str| {
            let command: Vec<String> = line.split(' ').map(str::to_owned).collect();
            go_words(&command).map(|words| words.join(" "))
        };
        for line in [
            "go mod tidy -v",
            "go -C lib mod tidy -v",
            "/opt/go/bin/go1.27.3 --C=lib mod tidy -v",
            "go mod tidy -C lib -v",
        ] {
            assert_eq!(words(line).as_deref(), Some("mod tidy -v"), "{line}");
        }
        assert_eq!(words("go run . -C x").as_deref(), Some("run ."));
        assert_eq!(words("go test -v -C x").as_deref(), Some("test -v -C x"));
        assert_eq!(words("go -C").as_deref(), Some(""));
        for line in ["make mod tidy", "go1. mod tidy", "sh -c go", ""] {
            assert_eq!(words(line), None, "{line}");
        }
    }
}
