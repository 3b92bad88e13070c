//! Random numbers that a failing run can be repeated with.

/// A generator whose seed stands in the output.
pub(crate) struct Dice(u64);

impl Dice {
    /// Seeded by `MODTAPE_SEED`, else by chance; says the seed.
    pub(crate) fn roll(what: &str) -> Self {
        let given = std::env::var("MODTAPE_SEED").ok();
        let seed = match given.and_then(|seed| seed.parse().ok()) {
            Some(seed) => seed,
            None => u64::from_ne_bytes(modtape::tls::random()),
        };
        eprintln!("{what}: MODTAPE_SEED={seed} repeats it");
        Self::of(seed)
    }

    /// The numbers of one seed.
    pub(crate) fn of(seed: u64) -> Self {
        // Zero is the one state that xorshift never leaves.
        Self(seed | 1)
    }

    /// A number below `end`, which is not 0.
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        // xorshift64*, Vigna 2016.
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 16) % end
    }
}
