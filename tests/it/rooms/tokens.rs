//! Rust source to tokens, as far as the room test needs: what stands in comments, strings, character
//! literals and numbers is gone, so that a word in prose is never taken for a use.

/// The tokens of `source`: words (lifetimes and numbers left out), `::`, and single characters.
pub fn tokens(source: &str) -> Vec<&str> {
    let mut found = Vec::new();
    let mut rest = source;
    while let Some(first) = rest.chars().next() {
        let length = skipped(rest).unwrap_or_else(|| {
            let length = token_length(rest);
            let token = &rest[..length];
            if !first.is_whitespace() && !first.is_ascii_digit() {
                found.push(token.strip_prefix("r#").unwrap_or(token));
            }
            length
        });
        rest = &rest[length..];
    }
    found
}

/// The tokens without the modules under `#[cfg(test)]`.
pub fn shipped_tokens<'a>(tokens: &[&'a str]) -> Vec<&'a str> {
    let mut kept = Vec::new();
    let mut rest = tokens;
    while let Some((first, tail)) = rest.split_first() {
        if let Some(module) = test_module_length(rest) {
            rest = &rest[module..];
        } else {
            kept.push(*first);
            rest = tail;
        }
    }
    kept
}

/// How many tokens the bracketed group at the start of `tokens` takes, both brackets included.
pub fn group_length(tokens: &[&str]) -> usize {
    let mut depth = 0_usize;
    for (index, token) in tokens.iter().enumerate() {
        match *token {
            "{" | "(" | "[" => depth += 1,
            "}" | ")" | "]" => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth == 0 {
            return index + 1;
        }
    }
    tokens.len()
}

/// Where `#[cfg(test)] mod name { … }` stands at the start, its length.
fn test_module_length(tokens: &[&str]) -> Option<usize> {
    const TEST_ONLY: [&str; 7] = ["#", "[", "cfg", "(", "test", ")", "]"];
    if !tokens.starts_with(&TEST_ONLY) {
        return None;
    }
    let mut at = TEST_ONLY.len();
    while tokens.get(at) == Some(&"#") {
        at += 1 + group_length(&tokens[at + 1..]);
    }
    let is_module = tokens.get(at) == Some(&"mod") && tokens.get(at + 2) == Some(&"{");
    is_module.then(|| at + 2 + group_length(&tokens[at + 2..]))
}

/// The length of the comment, string, character literal or lifetime at the start, if one is there.
fn skipped(rest: &str) -> Option<usize> {
    if rest.starts_with("//") {
        return Some(rest.find('\n').unwrap_or(rest.len()));
    }
    if rest.starts_with("/*") {
        return Some(block_comment_length(rest));
    }
    if rest.starts_with('\'') {
        return Some(character_or_lifetime_length(rest));
    }
    let prefix = ["br", "cr", "r", "b", "c", ""]
        .into_iter()
        .find(|prefix| is_string_start(rest, prefix))?;
    let body = &rest[prefix.len()..];
    if prefix.ends_with('r') {
        return Some(prefix.len() + raw_string_length(body));
    }
    Some(prefix.len() + quoted_length(body, '"'))
}

/// Whether a string with this prefix starts here; `r#name` is a word, `b'x'` reads as a word and a
/// character.
fn is_string_start(rest: &str, prefix: &str) -> bool {
    let Some(body) = rest.strip_prefix(prefix) else {
        return false;
    };
    if prefix.ends_with('r') {
        body.trim_start_matches('#').starts_with('"')
    } else {
        body.starts_with('"')
    }
}

/// Block comments nest (Rust reference, "Comments").
fn block_comment_length(rest: &str) -> usize {
    let mut depth = 0_usize;
    let mut at = 0;
    while at < rest.len() {
        let here = &rest.as_bytes()[at..];
        if here.starts_with(b"/*") {
            depth += 1;
            at += 2;
        } else if here.starts_with(b"*/") {
            depth -= 1;
            at += 2;
        } else {
            at += 1;
        }
        if depth == 0 {
            break;
        }
    }
    at
}

/// From the first `#` or quote of a raw string to its end.
fn raw_string_length(body: &str) -> usize {
    let hashes = body.len() - body.trim_start_matches('#').len();
    let close = format!("\"{}", "#".repeat(hashes));
    let inside = hashes + 1;
    body[inside..]
        .find(&close)
        .map_or(body.len(), |at| inside + at + close.len())
}

/// From one quote to the next that no backslash escapes.
fn quoted_length(body: &str, quote: char) -> usize {
    let mut is_escaped = false;
    for (at, character) in body.char_indices().skip(1) {
        match character {
            _ if is_escaped => is_escaped = false,
            '\\' => is_escaped = true,
            _ if character == quote => return at + 1,
            _ => {}
        }
    }
    body.len()
}

/// `'a'` and `'\n'` are characters; `'a` with anything else behind is a lifetime.
fn character_or_lifetime_length(rest: &str) -> usize {
    let mut inside = rest[1..].chars();
    match (inside.next(), inside.next()) {
        (Some('\\'), _) | (Some(_), Some('\'')) => quoted_length(rest, '\''),
        _ => 1 + word_length(&rest[1..]),
    }
}

fn token_length(rest: &str) -> usize {
    if rest.starts_with("::") {
        return 2;
    }
    let raw = if rest.starts_with("r#") { 2 } else { 0 };
    let word = word_length(&rest[raw..]);
    if word > 0 {
        return raw + word;
    }
    rest.chars().next().map_or(0, char::len_utf8)
}

fn word_length(rest: &str) -> usize {
    rest.find(|character: char| !character.is_alphanumeric() && character != '_')
        .unwrap_or(rest.len())
}

#[test]
fn words_in_comments_and_strings_are_no_tokens() {
    let source = r####"
        //! crate::a
        /* crate::b /* crate::c */ crate::d */
        x("crate::e \" crate::f", r#"crate::g " crate::h"#, b"crate::i", br"\", 'c', '"', '\'', b'"');
    "####;
    let expected = "x ( , , , , , , , b ) ;";
    assert_eq!(tokens(source).join(" "), expected);
}

#[test]
fn lifetimes_and_numbers_are_no_tokens_and_hide_none() {
    let source = "fn f<'a>(x: &'a str, y: u8) { 'outer: loop { 0xff_u8; r#mod::y } }";
    assert_eq!(
        tokens(source).join(" "),
        "fn f < > ( x : & str , y : u8 ) { : loop { ; mod :: y } }"
    );
}

#[test]
fn an_unfinished_literal_ends_with_the_file() {
    for source in ["\"a", "r#\"a\"", "/* a", "'\\", "'", "b\"", "// a"] {
        assert_eq!(tokens(source), Vec::<&str>::new(), "{source}");
    }
}

#[test]
fn test_modules_are_not_shipped() {
    let source = "fn a() {} #[cfg(test)] #[expect(x)] mod tests { fn b() { [{}] } } fn c() {}
        #[cfg(test)] fn d() {}";
    assert_eq!(
        shipped_tokens(&tokens(source)).join(" "),
        "fn a ( ) { } fn c ( ) { } # [ cfg ( test ) ] fn d ( ) { }"
    );
}
