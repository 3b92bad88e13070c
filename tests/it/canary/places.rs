//! Where secrets are put, and which cells of shape and place are promised.

use super::names::{FIELDS, FLAGS, KEYS, VARIABLES};
use super::search::{Percent, percent};
use super::shapes::{SHAPES, Speaks, filled};

/// Where a secret is put.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Place {
    Authorization,
    ProxyAuthorization,
    Cookie,
    NamedField,
    PlainField,
    Referer,
    NamedQuery,
    PlainQuery,
    NamedPath,
    PathPair,
    PlainPath,
    SetCookie,
    NamedAnswerField,
    Location,
    Link,
    Trailer,
    Reason,
    ConnectUserinfo,
    ParentsReason,
    Argument,
    GoProxy,
    BasePath,
    GoFlags,
    Environment,
}

use Place::*;

pub(super) const PLACES: &[Place] = &[
    Authorization,
    ProxyAuthorization,
    Cookie,
    NamedField,
    PlainField,
    Referer,
    NamedQuery,
    PlainQuery,
    NamedPath,
    PathPair,
    PlainPath,
    SetCookie,
    NamedAnswerField,
    Location,
    Link,
    Trailer,
    Reason,
    ConnectUserinfo,
    ParentsReason,
    Argument,
    GoProxy,
    BasePath,
    GoFlags,
    Environment,
];

/// Cells without a promise, and why.
///
/// All others are promised. `MODTAPE_LONG` or not, this list is the whole of it.
pub(super) fn not_promised(place: Place, shape: usize) -> Option<&'static str> {
    let (name, template, speaks) = SHAPES[shape];
    match place {
        PlainField if speaks == Speaks::Never => {
            Some("neither the field's name nor the value says that it is a secret")
        }
        PlainQuery | PlainPath if speaks != Speaks::Anywhere => {
            Some("neither the place nor the value says that it is a secret")
        }
        NamedPath if speaks != Speaks::Anywhere && !looks_random(template) => Some(
            "behind /token/ may stand a module's own name: a token there is long and has no signs",
        ),
        Reason | ParentsReason
            if matches!(name, "space" | "digest" | "separators" | "brackets") =>
        {
            Some("in running text, white space and separators end a secret that is not in quotes")
        }
        GoFlags if template.contains(' ') => Some("a space ends a flag"),
        GoProxy if name == "OAuth code" => {
            Some("`user:4/…@host` unencoded: digits and a slash are a port and a path")
        }
        _ => None,
    }
}

fn looks_random(template: &str) -> bool {
    template.len() >= 20
        && template
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"#^~_-=".contains(&b))
}

/// Of what is put there, nothing is ever recorded, redacted or not.
pub(super) fn is_never_recorded(place: Place) -> bool {
    matches!(place, ConnectUserinfo | Environment)
}

/// What does not arrive: the reason phrase of a parent proxy that is not ASCII; and what nobody would
/// have in a module proxy's path.
pub(super) fn is_dropped(place: Place, shape: usize) -> bool {
    place == BasePath && !looks_random(SHAPES[shape].1)
        || place == ParentsReason && !SHAPES[shape].1.is_ascii()
}

/// One secret in one place.
#[derive(Clone, Debug)]
pub(super) struct Cell {
    pub(super) place: Place,
    pub(super) shape: usize,
}

/// All cells; a cell's number is its secret's seed.
pub(super) fn cells() -> Vec<Cell> {
    let of = |&place: &Place| (0..SHAPES.len()).map(move |shape| Cell { place, shape });
    PLACES
        .iter()
        .flat_map(|place| of(place).collect::<Vec<_>>())
        .collect()
}

/// The secret of a cell.
pub(super) fn secret(place: Place, shape: usize) -> String {
    filled(SHAPES[shape].1, seed(place, shape))
}

pub(super) fn seed(place: Place, shape: usize) -> u64 {
    (place as usize * SHAPES.len() + shape) as u64 + 1
}

/// As it stands in a URL, encoded in one way or another.
pub(super) fn encoded(place: Place, shape: usize) -> String {
    let how = [Percent::Upper, Percent::Lower, Percent::All][shape % 3];
    percent(&secret(place, shape), how)
}

/// The fields of the request for a shape.
pub(super) fn request_fields(shape: usize) -> Vec<(&'static str, String)> {
    use base64::Engine as _;
    let basic = |place| {
        let account = format!("user:{}", secret(place, shape));
        format!("Basic {}", base64::prelude::BASE64_STANDARD.encode(account))
    };
    let credentials = match (SHAPES[shape].0, shape % 3) {
        ("digest", _) => format!("Digest {}", secret(Authorization, shape)),
        (_, 0) => basic(Authorization),
        (_, 1) => format!("Bearer {}", secret(Authorization, shape)),
        _ => secret(Authorization, shape),
    };
    let mut fields = vec![
        ("authorization", credentials),
        ("proxy-authorization", basic(ProxyAuthorization)),
        ("cookie", format!("theme=1; sid={}", secret(Cookie, shape))),
        ("x-other", secret(PlainField, shape)),
        (
            "referer",
            format!("https://user:{}@h.example/x", encoded(Referer, shape)),
        ),
        (
            "x-upstream-credentials",
            format!("Bearer {}", secret(NamedField, shape)),
        ),
    ];
    let names = FIELDS.iter().skip(shape).step_by(SHAPES.len());
    fields.extend(names.map(|name| (*name, secret(NamedField, shape))));
    fields
}

/// What the request for a shape asks for.
pub(super) fn request_target(shape: usize) -> String {
    let value = encoded(NamedQuery, shape);
    let keys = KEYS.iter().skip(shape).step_by(SHAPES.len());
    let pairs: String = keys.map(|key| format!("&{key}={value}")).collect();
    format!(
        "/{shape}/token/{}/x;sid={}/{}/@v/list?go-get=1{pairs}&x={}",
        encoded(NamedPath, shape),
        encoded(PathPair, shape),
        encoded(PlainPath, shape),
        encoded(PlainQuery, shape),
    )
}

/// What is asked for below a module proxy's URL with a secret in its path.
pub(super) fn base_path(shape: usize) -> Option<String> {
    let path = || format!("/{}/go", secret(BasePath, shape));
    (!is_dropped(BasePath, shape)).then(path)
}

/// The reason phrase of the answer for a shape.
pub(super) fn reason(shape: usize) -> String {
    format!("Moved token={}", secret(Reason, shape))
}

/// The fields of the answer for a shape.
pub(super) fn answer_fields(shape: usize) -> Vec<(&'static str, String)> {
    vec![
        (
            "set-cookie",
            format!("sid={}; Path=/; HttpOnly", secret(SetCookie, shape)),
        ),
        ("x-auth-token", secret(NamedAnswerField, shape)),
        (
            "location",
            format!(
                "https://storage.example/z?Expires=17&X-Amz-Signature={}",
                encoded(Location, shape)
            ),
        ),
        (
            "link",
            format!(
                "<https://u:{}@h.example/?page=2>; rel=\"next\"",
                encoded(Link, shape)
            ),
        ),
    ]
}

/// The trailer of the answer for a shape.
pub(super) fn trailer(shape: usize) -> (&'static str, String) {
    ("x-goog-signature", secret(Trailer, shape))
}

/// The command's words: each secret behind a flag, in an assignment, a URL, a field or a shell's line.
pub(super) fn arguments() -> Vec<String> {
    let words = |shape: usize| {
        let secret = secret(Argument, shape);
        let quoted = |text: String| format!("'{}'", text.replace('\'', r"'\''"));
        let round = shape / 8;
        let flag = FLAGS[round % FLAGS.len()].to_owned();
        let variable = VARIABLES[round % VARIABLES.len()];
        let line = match round % 3 {
            0 => format!("curl -H {} h", quoted(format!("Cookie: s={secret}"))),
            1 => format!("curl -b {} h", quoted(format!("s={secret}"))),
            _ => format!("export {variable}={}; go version", quoted(secret.clone())),
        };
        match shape % 8 {
            0 => vec![flag, secret],
            1 => vec![format!("{flag}={secret}")],
            2 => vec![format!("{variable}={secret}")],
            3 => vec![String::from("-u"), format!("user:{secret}")],
            4 => vec![
                String::from("-H"),
                format!("Authorization: Bearer {secret}"),
            ],
            5 => vec![String::from("mysql"), format!("-p{secret}")],
            6 => ["sh", "-c", &line].map(str::to_owned).to_vec(),
            _ if secret.contains(['/', '?']) => {
                vec![format!("https://u:{}@h.example/", encoded(Argument, shape))]
            }
            _ => vec![format!("https://u:{secret}@h.example/")],
        }
    };
    (0..SHAPES.len()).flat_map(words).collect()
}

/// GOPROXY, with passwords encoded or as they are.
pub(super) fn goproxy() -> String {
    let entry = |shape: usize| match shape % 2 {
        0 => format!("https://user:{}@proxy.golang.org", secret(GoProxy, shape)),
        _ => format!("https://user:{}@proxy.golang.org", encoded(GoProxy, shape)),
    };
    let bases = (0..SHAPES.len()).filter_map(base_path);
    let bases = bases.map(|path| format!("https://proxy.golang.org{path}"));
    let entries = (0..SHAPES.len()).map(entry).chain(bases);
    entries.collect::<Vec<_>>().join("|")
}

/// GOFLAGS, with what a linker is told.
pub(super) fn goflags() -> String {
    let flag = |shape: usize| format!("-ldflags=-X=main.token={}", secret(GoFlags, shape));
    (0..SHAPES.len()).map(flag).collect::<Vec<_>>().join(" ")
}
