//! Header fields, protocol versions and the bodies of requests, as the world writes them into HARs.

use base64::Engine as _;
use base64::alphabet;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};
use url::form_urlencoded::byte_serialize;

use super::file::BodyFiles;
use super::json::Json;
use super::oddity::{Oddities, Oddity};
use crate::coding::is_textual;
use crate::exchange::{ByteString, Fields};

/// How the comment begins that our exports put on a value that is not UTF-8.
const LATIN: &str = "not UTF-8";

/// The fields as they were sent: without what HTTP/2 has instead of a request line, which browsers
/// list among them.
///
/// HAR has a list of objects. Some write a list of pairs, some an object.
pub(super) fn fields(headers: Json, oddities: &mut Oddities) -> Fields {
    let mut fields = Fields::new();
    match headers {
        Json::Null => {}
        Json::List(list) => {
            for field in list {
                add_listed(field, &mut fields, oddities);
            }
        }
        Json::Object(members) => {
            oddities.add(Oddity::Converted);
            for (name, value) in members {
                let values = match value {
                    Json::List(values) => values,
                    value => vec![value],
                };
                for value in values {
                    add(
                        Json::Text(name.clone()),
                        value,
                        false,
                        &mut fields,
                        oddities,
                    );
                }
            }
        }
        _ => oddities.add(Oddity::Value),
    }
    fields
}

fn add_listed(mut field: Json, fields: &mut Fields, oddities: &mut Oddities) {
    match &mut field {
        Json::Object(_) => {
            let [name, value] = ["name", "value"].map(|name| field.take(name, oddities));
            let comment = field.take("comment", oddities).text(oddities);
            let is_latin = comment.is_some_and(|comment| comment.starts_with(LATIN));
            add(name, value, is_latin, fields, oddities);
        }
        Json::List(pair) if (1..=2).contains(&pair.len()) => {
            let value = pair.pop().filter(|_| !pair.is_empty());
            let name = pair.pop().unwrap_or_default();
            add(name, value.unwrap_or_default(), false, fields, oddities);
        }
        _ => oddities.add(Oddity::Field),
    }
}

fn add(name: Json, value: Json, is_latin: bool, fields: &mut Fields, oddities: &mut Oddities) {
    let (Some(name), value) = (name.text(oddities), value.text(oddities)) else {
        return oddities.add(Oddity::Field);
    };
    if name.starts_with(':') {
        return;
    }
    let value = value.unwrap_or_default();
    let bytes = is_latin.then(|| value.chars().map(|c| u8::try_from(c).ok()).collect());
    if let Some(bytes) = bytes.flatten() {
        return fields.push((name, ByteString(bytes)));
    }
    if !value.contains('\n') {
        match is_field(&name, &value) {
            true => fields.push((name, value.into())),
            false => oddities.add(Oddity::Field),
        }
        return;
    }
    // Browsers join what came as several fields with line feeds; a line that begins with white space
    // goes on with the one before it (RFC 9112 section 5.2).
    let value = value.replace("\r\n", "\n");
    let value = value.replace("\n ", " ").replace("\n\t", " ");
    for line in value.split('\n') {
        add(
            Json::Text(name.clone()),
            Json::Text(line.to_owned()),
            false,
            fields,
            oddities,
        );
    }
}

/// Can it stand on the wire? RFC 9110 sections 5.1 and 5.5.
fn is_field(name: &str, value: &str) -> bool {
    http::HeaderName::from_bytes(name.as_bytes()).is_ok()
        && http::HeaderValue::from_bytes(value.as_bytes()).is_ok()
}

/// A protocol version as recordings have it; HAR knows many names for each.
pub(super) fn version(told: Json, oddities: &mut Oddities) -> String {
    let told = told.text(oddities).unwrap_or_default();
    let told = told.trim().to_ascii_uppercase();
    let number = told.strip_prefix("HTTP/").unwrap_or(&told);
    let version = match number {
        "H2" | "H2C" | "2" | "2.0" => "HTTP/2",
        "H3" | "3" | "3.0" => "HTTP/3",
        "1.0" => "HTTP/1.0",
        "1" | "1.1" => "HTTP/1.1",
        _ => "unknown",
    };
    oddities.add_if(version == "unknown" && !told.is_empty(), Oddity::Version);
    version.to_owned()
}

/// The bytes of a request's body, if it has one, and they are in the file.
pub(super) fn post(
    request: &mut Json,
    files: &BodyFiles<'_>,
    oddities: &mut Oddities,
) -> Option<Vec<u8>> {
    let bytes = request
        .take("bodySize", oddities)
        .whole(oddities)
        .unwrap_or(0);
    let mut data = request.take("postData", oddities).object(oddities)?;
    let mut word = |name: &str| data.take(name, oddities).text(oddities).unwrap_or_default();
    let [mime, text, file] = ["mimeType", "text", "_file"].map(&mut word);
    let [encoding, base64] = ["encoding", "_base64"].map(&mut word);
    let params = match data.take("params", oddities) {
        Json::List(params) => params,
        _ => Vec::new(),
    };
    let body = if !file.is_empty() {
        files(&file)
    } else if !base64.is_empty() {
        decode(&base64)
    } else if !text.is_empty() {
        let is_whole = is_textual(&mime) || !text.contains(char::REPLACEMENT_CHARACTER);
        text_bytes(text, &encoding).filter(|_| is_whole)
    } else if !params.is_empty() {
        let form = form(params, &mime, oddities);
        oddities.add_if(form.is_some(), Oddity::Form);
        form
    } else if bytes == 0 && mime.is_empty() {
        return None;
    } else {
        // A HAR gives the length of a body that it leaves out.
        Some(Vec::new()).filter(|_| bytes == 0)
    };
    oddities.add_if(body.is_none(), Oddity::RequestBody);
    body
}

/// The bytes that a text of that encoding stands for; `None` if they cannot be known.
pub(super) fn text_bytes(text: String, encoding: &str) -> Option<Vec<u8>> {
    match encoding.trim().to_ascii_lowercase().as_str() {
        "" | "utf-8" | "utf8" => Some(text.into_bytes()),
        "base64" => decode(&text),
        _ => None,
    }
}

/// A form, as browsers send what HAR has as parameters.
fn form(params: Vec<Json>, mime: &str, oddities: &mut Oddities) -> Option<Vec<u8>> {
    let boundary = match mime.trim_start().get(..10) {
        Some(start) if start.eq_ignore_ascii_case("multipart/") => Some(boundary(mime)?),
        _ => None,
    };
    let mut form = Vec::new();
    for mut param in params {
        let mut word = |name: &str| param.take(name, oddities).text(oddities);
        let [name, value, encoding] = ["name", "value", "encoding"].map(&mut word);
        let [file, mime] = ["fileName", "contentType"].map(&mut word);
        let value = text_bytes(value.unwrap_or_default(), &encoding.unwrap_or_default())?;
        let name = name.unwrap_or_default();
        let Some(boundary) = boundary else {
            if !form.is_empty() {
                form.push(b'&');
            }
            form.extend(byte_serialize(name.as_bytes()).flat_map(str::bytes));
            form.push(b'=');
            form.extend(byte_serialize(&value).flat_map(str::bytes));
            continue;
        };
        // RFC 7578 section 4.2, with the escapes of the HTML standard (section 4.10.21.8).
        let escaped = |text: &str| {
            let text = text.replace('"', "%22");
            text.replace('\r', "%0D").replace('\n', "%0A")
        };
        let mut head = format!(
            "--{boundary}\r\nContent-Disposition: form-data; name=\"{}\"",
            escaped(&name)
        );
        if let Some(file) = file {
            // Without its content it is not the form that was sent.
            Some(()).filter(|()| !value.is_empty())?;
            head.push_str(&format!("; filename=\"{}\"", escaped(&file)));
        }
        if let Some(mime) = mime {
            head.push_str(&format!("\r\nContent-Type: {}", escaped(&mime)));
        }
        form.extend([head.as_bytes(), b"\r\n\r\n", &value, b"\r\n"].concat());
    }
    form.extend(boundary.map_or_else(Vec::new, |boundary| format!("--{boundary}--\r\n").into()));
    Some(form)
}

fn boundary(mime: &str) -> Option<&str> {
    let mut parameters = mime
        .split(';')
        .skip(1)
        .filter_map(|part| part.trim().split_once('='));
    let (_, boundary) = parameters.find(|(name, _)| name.eq_ignore_ascii_case("boundary"))?;
    Some(boundary.trim_matches('"')).filter(|boundary| !boundary.is_empty())
}

/// Base64 of either alphabet, with or without padding; some break it into lines.
pub(super) fn decode(text: &str) -> Option<Vec<u8>> {
    if text.contains(|c: char| c.is_ascii_whitespace() || c == '-' || c == '_') {
        let text = text.chars().filter(|c| !c.is_ascii_whitespace());
        let text = text.map(|c| match c {
            '-' => '+',
            '_' => '/',
            c => c,
        });
        return BASE64.decode(text.collect::<String>()).ok();
    }
    BASE64.decode(text).ok()
}

const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);
