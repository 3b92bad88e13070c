//! A recording turned into other tools' formats: exchanges in, bytes out, one file or folder a format.
//!
//! [`source`] reads a recording and feeds it, exchange by exchange, to a format; what is missing is
//! noted there. A format neither opens a file nor a socket, asks what time it is nor reads the
//! environment: the caller says where the bytes go.

pub(crate) mod curl;
pub(crate) mod goproxy;
pub(crate) mod har;
pub(crate) mod pcapng;
pub(crate) mod rows;
#[cfg(test)]
mod sample;
pub(crate) mod source;
pub(crate) mod trace;
