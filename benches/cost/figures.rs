//! Of many runs, one figure and how far they lay apart.

use serde::Serialize;

/// One figure over all rounds.
#[derive(Debug, Clone, Copy, Serialize)]
pub(crate) struct Figure {
    /// Mean of the better half, rounded down.
    pub(crate) best_half: f64,
    /// The least of all rounds.
    pub(crate) min: f64,
    /// The most of all rounds.
    pub(crate) max: f64,
}

/// Which end is better.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Better {
    Low,
    High,
}

impl Figure {
    /// Of at least one value.
    pub(crate) fn of(values: impl Iterator<Item = f64>, better: Better) -> Option<Self> {
        let mut values: Vec<_> = values.collect();
        values.sort_by(f64::total_cmp);
        let (min, max) = (*values.first()?, *values.last()?);
        let half = (values.len() / 2).max(1);
        let best = match better {
            Better::Low => &values[..half],
            Better::High => &values[values.len() - half..],
        };
        Some(Self {
            best_half: best.iter().sum::<f64>() / half as f64,
            min,
            max,
        })
    }
}
