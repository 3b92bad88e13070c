//! How an entry deviates from HAR, and what was made of it.

use std::collections::BTreeSet;

/// One kind of deviation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Oddity {
    /// Not as RFC 8259 has it.
    NotJson,
    /// A lone UTF-16 surrogate.
    Surrogate,
    /// Not UTF-8.
    Latin1,
    /// A name twice in one object.
    Duplicate,
    /// A value of another type, which could be understood.
    Converted,
    /// A value that could not be understood.
    Value,
    /// No start, or an invalid one.
    Untimed,
    /// A start without a time zone.
    Zoneless,
    /// An invalid duration of a phase.
    Timing,
    /// An unknown protocol version.
    Version,
    /// An invalid server address.
    Address,
    /// An invalid header field.
    Field,
    /// An invalid status.
    Status,
    /// A status from 100 to 199.
    Interim,
    /// Content where no body can be.
    Bodyless,
    /// The content of a body that came with a coding.
    Decoded,
    /// No text, or an empty one of a body that was not empty.
    NoBody,
    /// A text that is longer or shorter than the body.
    Length,
    /// An unknown encoding of the text.
    Encoding,
    /// A text that is not base64.
    Base64,
    /// A text whose characters were replaced.
    Replaced,
    /// Content that is still compressed.
    StillCoded,
    /// A body in a file that is not there, or may not be read.
    File,
    /// Not the body that was recorded.
    Digest,
    /// A request's body that was made of its parameters.
    Form,
    /// A request's body that is damaged.
    RequestBody,
}

impl Oddity {
    /// What is said of it, once for all entries.
    pub(crate) const fn words(self) -> &'static str {
        match self {
            Self::NotJson => {
                "not quite JSON (a stray comma, NaN, an unknown escape): read as far as possible"
            }
            Self::Surrogate => {
                "a text with half a character (a lone surrogate): U+FFFD stands for it"
            }
            Self::Latin1 => "a text that is not UTF-8: read as ISO 8859-1",
            Self::Duplicate => "a name twice in one object: the last one counts",
            Self::Converted => {
                "a value of an unusual type (a number for a text, an object for a list): converted"
            }
            Self::Value => "a value of the wrong type: left out",
            Self::Untimed => "no valid startedDateTime: placed where the entry before it stands",
            Self::Zoneless => "startedDateTime tells no zone: taken as UTC",
            Self::Timing => "an invalid timing: left out",
            Self::Version => "unknown httpVersion",
            Self::Address => "invalid serverIPAddress: left out",
            Self::Field => "an invalid header field: left out",
            Self::Status => "invalid status: counted as aborted, never replayed",
            Self::Interim => "only an interim response (1xx): counted as aborted, never replayed",
            Self::Bodyless => "content of a response that has no body (HEAD, 204, 304): left out",
            Self::Decoded => {
                "the body is the decoded content, as the HAR has it, without its content-encoding"
            }
            Self::NoBody => "the body is not in the HAR: counted as aborted, never replayed",
            Self::Length => {
                "text, size and content-length contradict each other: counted as aborted, never replayed"
            }
            Self::Encoding => "content of an unknown encoding: counted as aborted, never replayed",
            Self::Base64 => {
                "content that is not the base64 that it says: counted as aborted, never replayed"
            }
            Self::Replaced => {
                "content with replaced characters (U+FFFD): counted as aborted, never replayed"
            }
            Self::StillCoded => {
                "content that is still compressed: counted as aborted, never replayed"
            }
            Self::File => {
                "the body's file is not there, or not in the HAR's folder: counted as aborted, never replayed"
            }
            Self::Digest => "not the body that was recorded: counted as aborted, never replayed",
            Self::Form => "the request's body is made of its parameters",
            Self::RequestBody => "the request's body is left out or damaged: not imported",
        }
    }
}

/// The kinds of one entry, each once.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Oddities(BTreeSet<Oddity>);

impl Oddities {
    pub(super) fn add(&mut self, oddity: Oddity) {
        self.0.insert(oddity);
    }

    pub(super) fn add_if(&mut self, is_odd: bool, oddity: Oddity) {
        if is_odd {
            self.add(oddity);
        }
    }

    /// Is it one of them?
    pub(crate) fn has(&self, oddity: Oddity) -> bool {
        self.0.contains(&oddity)
    }

    /// Each of them.
    pub(crate) fn iter(&self) -> impl Iterator<Item = Oddity> {
        self.0.iter().copied()
    }
}
