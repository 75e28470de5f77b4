//! Numbers that look random and are the same for the same seed: a hash of a few words, and a keyed permutation.
//!
//! Both are pure functions, so a contact or an order of ties can be computed for one row without looking at the
//! others. Nothing here is for secrets.

/// A well-mixed hash of `parts` (splitmix64 over each in turn).
pub(crate) fn mix(parts: &[u64]) -> u64 {
    parts.iter().fold(0x9e37_79b9_7f4a_7c15, |state, part| scatter(state ^ scatter(*part)))
}

/// The same hash as a fraction in `0.0..1.0`.
pub(crate) fn fraction(parts: &[u64]) -> f64 {
    // 32 bits are enough for a rate and convert to f64 without loss.
    let high = u32::try_from(mix(parts) >> 32).unwrap_or(u32::MAX);
    f64::from(high) / (f64::from(u32::MAX) + 1.0)
}

/// One of `items`, chosen by `hash`.
pub(crate) fn pick<T: Copy>(items: &[T], hash: u64) -> T {
    items[below(hash, items.len())]
}

/// A number below `limit` (0 when `limit` is 0), chosen by `hash`.
pub(crate) fn below(hash: u64, limit: usize) -> usize {
    let limit = limit.max(1) as u64;
    usize::try_from(hash % limit).unwrap_or(0)
}

/// A keyed permutation of `0..len`: a Feistel network over the next even number of bits, walked until it lands inside.
pub(crate) struct Permutation {
    key: u64,
    len: u64,
    half_bits: u32,
}

impl Permutation {
    /// The permutation of `0..len` that belongs to `key`.
    pub(crate) fn new(key: u64, len: u64) -> Self {
        let bits = u64::BITS - len.saturating_sub(1).leading_zeros();
        Self { key, len, half_bits: bits.div_ceil(2).max(1) }
    }

    /// Where `index` goes. An index outside the range stays where it is.
    pub(crate) fn at(&self, index: u64) -> u64 {
        if index >= self.len {
            return index;
        }
        let mut at = index;
        loop {
            at = self.once(at);
            if at < self.len {
                return at;
            }
        }
    }

    fn once(&self, value: u64) -> u64 {
        let mask = (1 << self.half_bits) - 1;
        let (mut left, mut right) = (value >> self.half_bits, value & mask);
        for round in 0..4 {
            (left, right) = (right, left ^ (mix(&[self.key, round, right]) & mask));
        }
        (left << self.half_bits) | right
    }
}

fn scatter(mut value: u64) -> u64 {
    value = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_permutation_reaches_every_index_once_and_depends_on_its_key() {
        for len in [1, 2, 3, 15, 16, 17, 1000] {
            let mut seen: Vec<u64> = (0..len).map(|index| Permutation::new(7, len).at(index)).collect();
            seen.sort_unstable();
            assert_eq!(seen, (0..len).collect::<Vec<_>>());
        }
        let order = |key| (0..100).map(|index| Permutation::new(key, 100).at(index)).collect::<Vec<_>>();
        assert_ne!(order(1), order(2));
    }

    #[test]
    fn fractions_stay_below_one_and_spread() {
        let low = (0..1000).filter(|n| fraction(&[3, *n]) < 0.25).count();
        assert!((200..300).contains(&low), "{low}");
        assert!((0..1000).all(|n| fraction(&[n]) < 1.0));
    }
}
