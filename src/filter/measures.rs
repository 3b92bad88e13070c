//! Numbers with a comparison before them and a unit behind: `>=400`, `>1.5MB`, `<300ms`, `wait>80%`.

use std::cmp::Ordering;

/// How a value is held against a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Relation {
    Less,
    AtMost,
    Equal,
    AtLeast,
    More,
}

impl Relation {
    fn allows(self, ordering: Ordering) -> bool {
        match self {
            Self::Less => ordering.is_lt(),
            Self::AtMost => ordering.is_le(),
            Self::Equal => ordering.is_eq(),
            Self::AtLeast => ordering.is_ge(),
            Self::More => ordering.is_gt(),
        }
    }

    /// Takes the relation that `text` begins with; none is `=`.
    pub(super) fn split(text: &str) -> (Self, &str) {
        let relations = [
            (">=", Self::AtLeast),
            ("<=", Self::AtMost),
            (">", Self::More),
            ("<", Self::Less),
            ("=", Self::Equal),
        ];
        let mut found = relations
            .into_iter()
            .filter_map(|(sign, relation)| Some((relation, text.strip_prefix(sign)?)));
        found.next().unwrap_or((Self::Equal, text))
    }
}

/// A bound of a measured value.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Bound {
    pub(super) relation: Relation,
    pub(super) value: u64,
}

impl Bound {
    pub(super) fn has(self, value: u64) -> bool {
        self.relation.allows(value.cmp(&self.value))
    }
}

/// Whole numbers from one to another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Range {
    from: u64,
    to: u64,
}

impl Range {
    pub(super) const fn has(self, value: u64) -> bool {
        self.from <= value && value <= self.to
    }

    /// `200`, `>=400`, `4xx`, `10-20`; `None` if it is none of these.
    pub(super) fn parse(text: &str) -> Option<Self> {
        if let Some(hundreds) = text.strip_suffix("xx") {
            let from = number(hundreds).filter(|digit| *digit < 10)? * 100;
            return Some(Self {
                from,
                to: from + 99,
            });
        }
        if let Some((from, to)) = text.split_once('-') {
            let (from, to) = (number(from)?, number(to)?);
            return (from <= to).then_some(Self { from, to });
        }
        let (relation, digits) = Relation::split(text);
        let value = number(digits)?;
        let (from, to) = match relation {
            Relation::Equal => (value, value),
            Relation::AtLeast => (value, u64::MAX),
            Relation::AtMost => (0, value),
            Relation::More => (value.checked_add(1)?, u64::MAX),
            Relation::Less => (0, value.checked_sub(1)?),
        };
        Some(Self { from, to })
    }
}

/// What is asked of one phase.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Share {
    /// It happened.
    Any,
    /// Microseconds.
    Us(Bound),
    /// Millionths of the exchange's time.
    Millionths(Bound),
}

impl Share {
    pub(super) fn has(self, us: u64, total_us: u64) -> bool {
        match self {
            Self::Any => true,
            Self::Us(bound) => bound.has(us),
            Self::Millionths(bound) => {
                let share = u128::from(us) * 1_000_000 / u128::from(total_us.max(1));
                bound.has(u64::try_from(share).unwrap_or(u64::MAX))
            }
        }
    }
}

/// Microseconds: `500ms`, `1.5s`, `2m`, `250us`.
pub(super) fn duration(text: &str) -> Option<Bound> {
    measure(
        text,
        &[
            ("us", 1),
            ("µs", 1),
            ("ms", 1000),
            ("s", 1_000_000),
            ("m", 60_000_000),
            ("h", 3_600_000_000),
        ],
    )
}

/// Bytes: `10kB`, `1.5MB`, `16KiB`, `512B`; a bare number counts bytes.
pub(super) fn size(text: &str) -> Option<Bound> {
    measure(
        text,
        &[
            ("KiB", 1 << 10),
            ("MiB", 1 << 20),
            ("GiB", 1 << 30),
            ("kB", 1000),
            ("KB", 1000),
            ("MB", 1_000_000),
            ("GB", 1_000_000_000),
            ("B", 1),
            ("", 1),
        ],
    )
}

/// Millionths: `80%`.
pub(super) fn percent(text: &str) -> Option<Bound> {
    measure(text, &[("%", 10_000)])
}

/// The first unit that the text ends with decides.
fn measure(text: &str, units: &[(&str, u64)]) -> Option<Bound> {
    let (relation, text) = Relation::split(text);
    let mut found = units
        .iter()
        .filter_map(|(unit, factor)| Some((text.strip_suffix(unit)?, *factor)));
    let (number, factor) = found.next()?;
    let value = decimal(number, factor)?;
    Some(Bound { relation, value })
}

/// `digits[.digits]` times `factor`, exact to a unit and rounded down.
fn decimal(text: &str, factor: u64) -> Option<u64> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let whole = number(whole)?.checked_mul(factor)?;
    // More digits than there are units change nothing.
    let digits = number(fraction).map(|_| fraction).or_else(|| {
        let is_long = fraction.len() > 12 && fraction.bytes().all(|digit| digit.is_ascii_digit());
        is_long.then(|| &fraction[..12])
    })?;
    let digits = digits.get(..12).unwrap_or(digits);
    let scale = 10_u128.pow(u32::try_from(digits.len()).ok()?);
    let part = u128::from(number(digits)?) * u128::from(factor) / scale;
    whole.checked_add(u64::try_from(part).ok()?)
}

fn number(digits: &str) -> Option<u64> {
    let is_number = !digits.is_empty() && digits.bytes().all(|digit| digit.is_ascii_digit());
    is_number.then(|| digits.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_are_exact() {
        let value = |bound: Option<Bound>| bound.map(|bound| bound.value);
        assert_eq!(value(duration(">1.5s")), Some(1_500_000));
        assert_eq!(value(duration("0.0005ms")), Some(0));
        assert_eq!(value(duration("2m")), Some(120_000_000));
        assert_eq!(value(duration("500")), None);
        assert_eq!(value(size("1.5MB")), Some(1_500_000));
        assert_eq!(value(size("16KiB")), Some(16_384));
        assert_eq!(value(size("100")), Some(100));
        assert_eq!(value(percent(">80%")), Some(800_000));
        assert_eq!(value(duration("1.00000000000000000001s")), Some(1_000_000));
        for text in ["", ".", "1.", ".5s", "-1s", "1e3s", "99999999999999999999h"] {
            assert_eq!(value(duration(text)), None, "{text}");
        }
    }

    #[test]
    fn ranges_hold_their_ends() {
        let has = |text: &str, value| Range::parse(text).map(|range| range.has(value));
        assert_eq!(has("4xx", 404), Some(true));
        assert_eq!(has("4xx", 500), Some(false));
        assert_eq!(has(">=400", 400), Some(true));
        assert_eq!(has(">400", 400), Some(false));
        assert_eq!(has("10-20", 20), Some(true));
        assert_eq!(has("20-10", 15), None);
        assert_eq!(has("<0", 0), None);
        assert_eq!(has("xx", 0), None);
    }
}
