//! Keyed hashes: the state keeps these in place of people's values (design, section 5).

use std::fmt;

/// The secret of one state file. Without it a digest cannot be tried against guessed values.
#[derive(Clone)]
pub struct HashKey([u8; 32]);

impl HashKey {
    /// A key from 32 random bytes.
    pub fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The key's bytes, for the store alone.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Digest of `value` in a `domain` (a word that keeps equal values of different meaning apart).
    pub fn digest(&self, domain: &str, value: impl AsRef<[u8]>) -> Digest {
        let mut hasher = blake3::Hasher::new_keyed(&self.0);
        hasher.update(&(domain.len() as u64).to_le_bytes());
        hasher.update(domain.as_bytes());
        hasher.update(value.as_ref());
        let mut digest = [0; 16];
        digest.copy_from_slice(&hasher.finalize().as_bytes()[..16]);
        Digest(digest)
    }
}

impl fmt::Debug for HashKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HashKey(..)")
    }
}

/// 16 bytes of a keyed BLAKE3 hash.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest(pub [u8; 16]);

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Digest {
    /// Reads the 32 hexadecimal digits that `Display` writes.
    pub fn parse(hex: &str) -> Option<Self> {
        let bytes = hex.as_bytes();
        if bytes.len() != 32 {
            return None;
        }
        let mut digest = [0; 16];
        for (slot, pair) in digest.iter_mut().zip(bytes.chunks_exact(2)) {
            let high = char::from(pair[0]).to_digit(16)?;
            let low = char::from(pair[1]).to_digit(16)?;
            *slot = u8::try_from(high * 16 + low).ok()?;
        }
        Some(Self(digest))
    }
}

#[cfg(test)]
mod tests {
    use super::{Digest, HashKey};

    #[test]
    fn a_digest_depends_on_key_domain_and_value() {
        let key = HashKey::new([1; 32]);
        let digest = key.digest("email", "a@example.com");
        assert_eq!(digest, key.digest("email", "a@example.com"));
        assert_ne!(digest, key.digest("phone", "a@example.com"));
        assert_ne!(digest, key.digest("email", "b@example.com"));
        assert_ne!(digest, HashKey::new([2; 32]).digest("email", "a@example.com"));
    }

    #[test]
    fn a_digest_survives_its_text_form() {
        let digest = HashKey::new([1; 32]).digest("x", "y");
        assert_eq!(Digest::parse(&digest.to_string()), Some(digest));
        assert_eq!(Digest::parse("zz"), None);
    }

    #[test]
    fn a_key_does_not_print_itself() {
        assert_eq!(format!("{:?}", HashKey::new([7; 32])), "HashKey(..)");
    }
}
