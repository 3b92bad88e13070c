//! From a text to a filter; every error stands at a column.

use std::str::FromStr;

use super::globs::Glob;
use super::measures::{self, Range, Share};
use super::terms::{Filter, FilterError, Outcome, Term, Test};
use crate::exchange::Phase;
use crate::gomod::Kind;

/// The keys, as errors list them.
const KEYS: [&str; 18] = [
    "host",
    "kind",
    "module",
    "version",
    "status",
    "outcome",
    "time",
    "size",
    "phase",
    "method",
    "url",
    "text",
    "id",
    "connection",
    "dns",
    "connect",
    "tls",
    "wait",
];

/// A piece of the text and where it begins, in characters from 1.
#[derive(Debug, Clone, Copy)]
struct Piece<'a> {
    text: &'a str,
    column: usize,
}

impl<'a> Piece<'a> {
    /// What follows the first `bytes`.
    fn from(self, bytes: usize) -> Self {
        Self {
            text: &self.text[bytes..],
            column: self.column + self.text[..bytes].chars().count(),
        }
    }

    fn to(self, bytes: usize) -> Self {
        Self {
            text: &self.text[..bytes],
            ..self
        }
    }

    fn fails<T>(self, problem: impl Into<String>) -> Result<T, FilterError> {
        Err(FilterError {
            column: self.column,
            problem: problem.into(),
        })
    }
}

impl FromStr for Filter {
    type Err = FilterError;

    fn from_str(text: &str) -> Result<Self, FilterError> {
        let whole = Piece { text, column: 1 };
        let terms = split(whole, char::is_whitespace)?;
        let terms = terms.into_iter().filter(|term| !term.text.is_empty());
        Ok(Self {
            terms: terms.map(term).collect::<Result<_, _>>()?,
        })
    }
}

/// The pieces between characters that are outside of quotes.
fn split(
    whole: Piece<'_>,
    is_separator: impl Fn(char) -> bool,
) -> Result<Vec<Piece<'_>>, FilterError> {
    let mut pieces = Vec::new();
    let (mut start, mut quote) = (0, None);
    for (at, c) in whole.text.char_indices() {
        match quote {
            Some(_) if c == '"' => quote = None,
            None if c == '"' => quote = Some(at),
            None if is_separator(c) => {
                pieces.push(whole.to(at).from(start));
                start = at + c.len_utf8();
            }
            _ => {}
        }
    }
    if let Some(at) = quote {
        return whole.from(at).fails("this quote has no end");
    }
    pieces.push(whole.from(start));
    Ok(pieces)
}

fn term(piece: Piece<'_>) -> Result<Term, FilterError> {
    let is_negated = piece.text.starts_with('-');
    let piece = piece.from(usize::from(is_negated));
    let Some(colon) = piece
        .text
        .find([':', '"'])
        .filter(|at| piece.text[*at..].starts_with(':'))
    else {
        let any_of = vec![word(piece)?];
        return Ok(Term { is_negated, any_of });
    };
    let (key, values) = (piece.to(colon), piece.from(colon + 1));
    let values = split(values, |c| c == ',')?;
    let tests = values.into_iter().map(|value| test(key, value));
    Ok(Term {
        is_negated,
        any_of: tests.collect::<Result<_, _>>()?,
    })
}

/// A word without a key: an outcome's name, or a part of the URL or of what was asked for.
fn word(piece: Piece<'_>) -> Result<Test, FilterError> {
    let text = unquoted(piece);
    if text.is_empty() {
        return piece.fails("a word or KEY:VALUE is missing here");
    }
    let outcome = Outcome::ALL
        .into_iter()
        .find(|outcome| outcome.name() == piece.text);
    Ok(outcome.map_or_else(|| Test::Text(text.to_lowercase()), Test::Outcome))
}

/// The text of a piece without its quotes, which may stand anywhere in it.
fn unquoted(piece: Piece<'_>) -> String {
    piece.text.replace('"', "")
}

fn test(key: Piece<'_>, value: Piece<'_>) -> Result<Test, FilterError> {
    let text = unquoted(value);
    if text.is_empty() {
        return value.fails(format!("{} needs a value", key.text));
    }
    if let Some(phase) = Phase::ALL
        .into_iter()
        .find(|phase| phase.name() == key.text)
    {
        return Ok(Test::Phase(phase, share(value, &text)?));
    }
    Ok(match key.text {
        "host" => Test::Host(Glob::new(&text)),
        "module" => Test::Module(Glob::new(&text)),
        "version" => Test::Version(Glob::new(&text)),
        "method" => Test::Method(Glob::new(&text)),
        "url" => Test::Url(Glob::new(&text)),
        "text" => Test::Text(text.to_lowercase()),
        "kind" => Test::Kind(named(value, &text, &Kind::ALL, Kind::name)?),
        "outcome" => Test::Outcome(named(value, &text, &Outcome::ALL, Outcome::name)?),
        "status" if text == "none" => Test::NoStatus,
        "status" => Test::Status(range(value, &text, "404, 4xx, >=400, 400-499 or none")?),
        "id" => Test::Id(range(value, &text, "12, >100 or 12-20")?),
        "connection" => Test::Connection(range(value, &text, "3, >10 or 3-5")?),
        "time" => match measures::duration(&text) {
            Some(bound) => Test::Time(bound),
            None => {
                return value.fails(format!(
                    "{text:?} is no time: >500ms, <=1.5s, >2m (us, ms, s, m, h)"
                ));
            }
        },
        "size" => match measures::size(&text) {
            Some(bound) => Test::Size(bound),
            None => {
                return value.fails(format!(
                    "{text:?} is no size: >1MB, <16KiB, 0 (B, kB, MB, GB, KiB, MiB, GiB)"
                ));
            }
        },
        "phase" => {
            let at = text.find(['<', '>', '=']).unwrap_or(text.len());
            let (name, rest) = text.split_at(at);
            let phase = named(value, name, &Phase::ALL, Phase::name)?;
            let share = if rest.is_empty() {
                Share::Any
            } else {
                share(value, rest)?
            };
            Test::Phase(phase, share)
        }
        other => {
            let near = nearest(other, KEYS).map(|near| format!("; did you mean {near}?"));
            let near = near.unwrap_or_else(|| format!(": they are {}", KEYS.join(", ")));
            return key.fails(format!("no key is called {other:?}{near}"));
        }
    })
}

fn share(value: Piece<'_>, text: &str) -> Result<Share, FilterError> {
    let us = measures::duration(text).map(Share::Us);
    match us.or_else(|| measures::percent(text).map(Share::Millionths)) {
        Some(share) => Ok(share),
        None => value.fails(format!("{text:?} is neither a time nor a share: >2s, >80%")),
    }
}

fn range(value: Piece<'_>, text: &str, examples: &str) -> Result<Range, FilterError> {
    match Range::parse(text) {
        Some(range) => Ok(range),
        None => value.fails(format!("{text:?} is not like {examples}")),
    }
}

/// The one of `all` that is called so.
fn named<T: Copy>(
    value: Piece<'_>,
    text: &str,
    all: &[T],
    name: impl Fn(T) -> &'static str,
) -> Result<T, FilterError> {
    if let Some(found) = all
        .iter()
        .find(|one| name(**one).eq_ignore_ascii_case(text))
    {
        return Ok(*found);
    }
    let names: Vec<_> = all.iter().map(|one| name(*one)).collect();
    let near = nearest(text, names.iter().copied());
    let near = near.map(|near| format!("did you mean {near}?"));
    let near = near.unwrap_or_else(|| format!("there are {}", names.join(", ")));
    value.fails(format!("nothing is called {text:?} here; {near}"))
}

/// The name that differs by no more than two insertions, deletions or changes.
fn nearest<'a>(text: &str, names: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    // Longer texts are no slips of these names, and the work grows with them.
    let text: String = text.chars().take(32).collect();
    let distance = |name| strsim::levenshtein(&text, name);
    let distances = names.into_iter().map(|name| (distance(name), name));
    let (distance, name) = distances.min()?;
    (distance <= 2 && distance < text.chars().count()).then_some(name)
}
