//! Which texts need no reading: nearly all of them.
//!
//! Every field of every exchange passes here, and hardly one holds a secret. One look at each byte
//! and the one behind it finds the few places where something telling may begin; only what stands
//! there is compared. Never decides that something is secret: that is for the readers.

/// Which bytes patterns begin with: for each first one those that may come second, and for each
/// pair of these those that may come third. A bit each for their low five bits, which a letter has
/// in common with its capital.
pub(super) struct Screen {
    seconds: [u32; 256],
    thirds: [u32; 1024],
}

/// What a pattern that has ended lets come next.
const ANY: u32 = u32::MAX;

impl Screen {
    pub(super) const EMPTY: Self = Self {
        seconds: [0; 256],
        thirds: [0; 1024],
    };

    /// Lets each of the patterns be noticed too, in capitals or not.
    pub(super) const fn with(mut self, patterns: &[&str]) -> Self {
        let mut i = 0;
        while i < patterns.len() {
            self = self.beginning(patterns[i].as_bytes()[0].to_ascii_uppercase(), patterns[i]);
            self = self.beginning(patterns[i].as_bytes()[0].to_ascii_lowercase(), patterns[i]);
            i += 1;
        }
        self
    }

    /// Lets a pattern be noticed too, where it begins with this byte instead of its own.
    pub(super) const fn beginning(mut self, first: u8, pattern: &str) -> Self {
        let (second, seconds, thirds) = match pattern.as_bytes() {
            [_, second, third, ..] => (*second, bit(*second), bit(*third)),
            [_, second] => (*second, bit(*second), ANY),
            _ => (0, ANY, 0),
        };
        self.seconds[first as usize] |= seconds;
        self.thirds[pair(first, second)] |= thirds;
        self
    }

    /// Lets whatever the other one notices be noticed too.
    pub(super) const fn and(mut self, other: &Self) -> Self {
        let mut i = 0;
        while i < 256 {
            self.seconds[i] |= other.seconds[i];
            i += 1;
        }
        let mut i = 0;
        while i < 1024 {
            self.thirds[i] |= other.thirds[i];
            i += 1;
        }
        self
    }

    /// The first place at or behind `from` where a pattern may begin, and `is` says that one does.
    pub(super) fn find(
        &self,
        bytes: &[u8],
        from: usize,
        is: impl Fn(usize) -> bool,
    ) -> Option<usize> {
        let mut seconds = 0;
        for (offset, byte) in bytes.get(from..)?.iter().enumerate() {
            // `seconds` is what the byte before lets come here.
            if seconds >> (byte & 31) & 1 == 1 {
                let at = from + offset - 1;
                if (seconds == ANY || self.may_go_on(bytes, at)) && is(at) {
                    return Some(at);
                }
            }
            seconds = self.seconds[usize::from(*byte)];
        }
        let last = bytes.len().checked_sub(1)?;
        (seconds == ANY && is(last)).then_some(last)
    }

    /// May what stands behind the first two bytes come third?
    fn may_go_on(&self, bytes: &[u8], first: usize) -> bool {
        let thirds = self.thirds[pair(bytes[first], bytes[first + 1])];
        match bytes.get(first + 2) {
            Some(third) => thirds & bit(*third) != 0,
            None => thirds == ANY,
        }
    }

    /// Does a pattern begin somewhere where `is` says that one does?
    pub(super) fn any(&self, bytes: &[u8], is: impl Fn(usize) -> bool) -> bool {
        self.find(bytes, 0, is).is_some()
    }
}

const fn bit(byte: u8) -> u32 {
    1 << (byte & 31)
}

const fn pair(first: u8, second: u8) -> usize {
    ((first & 31) as usize) << 5 | (second & 31) as usize
}

/// Does the text begin with `pattern`, in capitals or not?
pub(super) fn begins(text: &[u8], pattern: &str) -> bool {
    text.get(..pattern.len())
        .is_some_and(|start| start.eq_ignore_ascii_case(pattern.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_is_noticed_wherever_it_stands_and_in_capitals() {
        static SCREEN: Screen = Screen::EMPTY.with(&["token", "@", "pw"]);
        for text in [
            "token", "a token", "My-TOKEN", "a@", "@", "x-tOk", "PW", "pw=",
        ] {
            assert!(SCREEN.any(text.as_bytes(), |_| true), "{text}");
        }
        for text in ["", "t", "text", "at", "cache-control", "p"] {
            assert!(!SCREEN.any(text.as_bytes(), |_| true), "{text}");
        }
        assert_eq!(SCREEN.find(b"@ab@", 1, |_| true), Some(3));
        assert_eq!(SCREEN.find(b"@ab@", 0, |at| at > 0), Some(3));
        assert_eq!(SCREEN.find(b"@", 2, |_| true), None);
    }
}
