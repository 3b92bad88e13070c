//! A recording turned into other tools' formats: exchanges in, bytes out.
//!
//! Pure projections. Nothing here opens a file or a socket, asks what time it is or reads the
//! environment; the caller hands in what the recording holds and where the bytes go.

pub(crate) mod goproxy;
pub(crate) mod har;
pub(crate) mod pcapng;
#[cfg(test)]
mod sample;
pub(crate) mod source;
pub(crate) mod stored;
