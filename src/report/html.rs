//! One HTML file: the program, its style, and the data in gzip. It asks nobody for anything, and a policy
//! holds it to that (CSP Level 3, section 8.3: hashes of what is in the file).

use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::sync::LazyLock;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use flate2::Compression;
use flate2::write::GzEncoder;
use sha2::{Digest as _, Sha256};

use super::Data;
use crate::diagnose::report::Report;

/// What `web/` makes.
const SCRIPT: &str = include_str!("page.js");
/// Its style.
const STYLE: &str = include_str!("page.css");

/// What those see who let no script run.
const NEEDS_SCRIPT: &str = "<noscript><p>The rest of this page needs JavaScript.</p></noscript>\n";

/// The whole file.
pub(crate) fn html(data: &Data<'_>) -> io::Result<Vec<u8>> {
    let mut gzip = GzEncoder::new(Vec::new(), Compression::best());
    serde_json::to_writer(&mut gzip, data)?;
    let gzip = STANDARD.encode(gzip.finish()?);
    let report = data.report;
    written(
        &report.recording,
        &summary(report),
        &gzip,
        &policy("'none'"),
    )
}

/// The page without data: it asks whoever sent it.
pub(super) fn shell(name: &str) -> io::Result<Vec<u8>> {
    written(name, NEEDS_SCRIPT, "", &policy("'self'"))
}

/// Whom the page may ask: `connect` and nobody else.
pub(super) fn policy(connect: &str) -> String {
    format!(
        "default-src 'none'; script-src '{}'; style-src '{}'; img-src data:; connect-src {connect}; \
         base-uri 'none'; form-action 'none'",
        HASHES[0], HASHES[1]
    )
}

fn written(name: &str, inside: &str, gzip: &str, policy: &str) -> io::Result<Vec<u8>> {
    let title = escaped(&format!("modtape: {name}"));
    let mut out = Vec::with_capacity(gzip.len() + SCRIPT.len() + STYLE.len() + 8192);
    write!(
        out,
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"{policy}\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"referrer\" content=\"no-referrer\">\n\
         <title>{title}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n\
         <div id=\"page\">\n{inside}</div>\n\
         <script type=\"application/gzip\" id=\"data\">{gzip}</script>\n\
         <script>{SCRIPT}</script>\n</body>\n</html>\n",
    )?;
    out.flush()?;
    Ok(out)
}

/// What stands in the file for those who search it, or let no script run.
fn summary(report: &Report) -> String {
    let mut text = format!("<p>{}</p>\n<ul>\n", escaped(&report.sentence));
    for finding in &report.findings {
        let title = escaped(&finding.title);
        let _ = writeln!(
            text,
            "<li>{} {}: {title}</li>",
            finding.code,
            finding.severity.name()
        );
    }
    text + "</ul>\n" + NEEDS_SCRIPT
}

/// Of the script and of the style: every response of the live page names both.
static HASHES: LazyLock<[String; 2]> = LazyLock::new(|| [hash(SCRIPT), hash(STYLE)]);

/// As a policy names a script or a style.
fn hash(text: &str) -> String {
    format!("sha256-{}", STANDARD.encode(Sha256::digest(text)))
}

/// Text in HTML. Control characters that HTML has no place for become marks.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            c if c.is_control() && c != '\n' => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_of_the_program_ends_its_element() {
        for text in [SCRIPT, STYLE] {
            let lower = text.to_lowercase();
            assert!(!lower.contains("</s") && !lower.contains("<!--"));
        }
    }

    #[test]
    fn hostile_text_stays_text() {
        assert_eq!(
            escaped("</script>\"\0&"),
            "&lt;/script&gt;&quot;\u{fffd}&amp;"
        );
    }
}
