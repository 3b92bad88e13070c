//! Where secrets are put, and which cells of shape and place are promised.

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
    GoFlags,
    Environment,
];

/// Names of fields that say what they hold.
const FIELDS: [&str; 8] = [
    "x-vault-token",
    "x-api-key",
    "x-client-secret",
    "x-session-id",
    "x-csrf-token",
    "x-registry-auth",
    "x-amz-security-token",
    "x-forwarded-authorization",
];

/// Query keys that say what they hold.
const KEYS: [&str; 12] = [
    "token",
    "sig",
    "X-Amz-Signature",
    "X-Amz-Security-Token",
    "Signature",
    "GoogleAccessId",
    "access_token",
    "code",
    "password",
    "api_key",
    "jsessionid",
    "X-Goog-Signature",
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

/// What the HTTP parser drops: a reason phrase that is not ASCII.
pub(super) fn is_dropped(place: Place, shape: usize) -> bool {
    matches!(place, Reason | ParentsReason) && !SHAPES[shape].1.is_ascii()
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
    vec![
        ("authorization", credentials),
        ("proxy-authorization", basic(ProxyAuthorization)),
        ("cookie", format!("theme=1; sid={}", secret(Cookie, shape))),
        (FIELDS[shape % FIELDS.len()], secret(NamedField, shape)),
        ("x-other", secret(PlainField, shape)),
        (
            "referer",
            format!("https://user:{}@h.example/x", encoded(Referer, shape)),
        ),
    ]
}

/// What the request for a shape asks for.
pub(super) fn request_target(shape: usize) -> String {
    format!(
        "/{shape}/token/{}/x;sid={}/{}/@v/list?go-get=1&{}={}&x={}",
        encoded(NamedPath, shape),
        encoded(PathPair, shape),
        encoded(PlainPath, shape),
        KEYS[shape % KEYS.len()],
        encoded(NamedQuery, shape),
        encoded(PlainQuery, shape),
    )
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

/// The command's words: each secret behind a flag, in an assignment, a URL or a field.
pub(super) fn arguments() -> Vec<String> {
    let words = |shape: usize| {
        let secret = secret(Argument, shape);
        match shape % 6 {
            0 => vec![String::from("--token"), secret],
            1 => vec![format!("--client-secret={secret}")],
            2 => vec![format!("API_KEY={secret}")],
            3 => vec![String::from("-u"), format!("user:{secret}")],
            4 => vec![
                String::from("-H"),
                format!("Authorization: Bearer {secret}"),
            ],
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
    (0..SHAPES.len()).map(entry).collect::<Vec<_>>().join("|")
}

/// GOFLAGS, with what a linker is told.
pub(super) fn goflags() -> String {
    let flag = |shape: usize| format!("-ldflags=-X=main.token={}", secret(GoFlags, shape));
    (0..SHAPES.len()).map(flag).collect::<Vec<_>>().join(" ")
}
