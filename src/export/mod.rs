//! A recording turned into other tools' formats: exchanges in, bytes out.
//!
//! Pure projections. Nothing here opens a file or a socket, asks what time it is or reads the
//! environment; the caller hands in what the recording holds and where the bytes go.

mod body_text;
pub(crate) mod goproxy;
pub(crate) mod har;
mod har_content;
mod har_entry;
mod har_message;
mod har_page;
mod har_pairs;
pub(crate) mod pcapng;
#[cfg(test)]
mod sample;
mod stored;
