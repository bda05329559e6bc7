//! Random numbers that depend on nothing but the seed, the key and the ordinal of an arrival.
//!
//! A run is repeated by its seed however its requests interleave. Not for anything secret.

/// A stream of random numbers (splitmix64).
#[derive(Clone, Debug)]
pub struct Dice(u64);

impl Dice {
    /// The dice of the `ordinal`th arrival of a key.
    pub fn new(seed: u64, key: &str, ordinal: u32) -> Self {
        // FNV-1a: the same on every machine and in every release, unlike the standard library's hasher.
        let hash = key.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
        });
        Self(seed ^ hash.wrapping_add(u64::from(ordinal).wrapping_mul(0x9e37_79b9_7f4a_7c15)))
    }

    /// The next number, 0 or more and below 1.
    pub fn roll(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^= mixed >> 31;
        // 32 bits are plenty and convert to a float without loss.
        f64::from(u32::try_from(mixed >> 32).unwrap_or(u32::MAX)) / (f64::from(u32::MAX) + 1.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_repeat_with_the_seed_and_differ_without_it() {
        let roll = |seed, key, ordinal| Dice::new(seed, key, ordinal).roll().to_bits();
        assert_eq!(roll(1, "a", 1), roll(1, "a", 1));
        for other in [roll(2, "a", 1), roll(1, "b", 1), roll(1, "a", 2)] {
            assert_ne!(roll(1, "a", 1), other);
        }
    }

    #[test]
    fn numbers_fill_the_range_evenly() {
        let below_a_third = (0..30_000)
            .map(|ordinal| Dice::new(7, "key", ordinal).roll())
            .inspect(|number| assert!((0.0..1.0).contains(number)))
            .filter(|number| *number < 1.0 / 3.0)
            .count();
        assert!((9_500..10_500).contains(&below_a_third), "{below_a_third}");
    }
}
