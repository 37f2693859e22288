//! What stands in for an agent's key: the key itself, a pseudonym, or nothing. The plain key goes no further than this
//! where the operator does not want it on the page: neither page, logs nor state hold it.

use std::sync::Arc;

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use crate::reading::Entity;
use crate::settings::AgentLabel;

/// A key for hashes that nobody outside can repeat.
#[derive(Clone)]
pub struct HashKey(Arc<[u8]>);

/// How agents are named.
#[derive(Debug, Clone)]
pub struct AgentNames {
    /// What the operator wants.
    pub mode: AgentLabel,
    key: HashKey,
}

impl HashKey {
    /// A key of these bytes.
    pub fn new(key: &[u8]) -> Self {
        Self(key.into())
    }

    fn digest(&self, text: &str) -> [u8; 8] {
        let mut digest = [0; 8];
        // HMAC takes keys of any length, so this cannot fail.
        if let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(&self.0) {
            mac.update(text.as_bytes());
            digest.copy_from_slice(&mac.finalize().into_bytes()[..8]);
        }
        digest
    }

    /// The keyed hash of a call id.
    pub fn call(&self, id: &str) -> u64 {
        u64::from_be_bytes(self.digest(id))
    }
}

impl std::fmt::Debug for HashKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("HashKey(…)")
    }
}

impl AgentNames {
    /// Names by `mode`; `key` is the operator's for pseudonyms, the state's own where no name is shown.
    pub const fn new(mode: AgentLabel, key: HashKey) -> Self {
        Self { mode, key }
    }

    /// Tells one way of naming from another: zero for plain names, else a digest of the key.
    pub fn fingerprint(&self) -> u64 {
        if self.mode == AgentLabel::Plain { 0 } else { self.key.call("naming") }
    }

    /// The entity as ledger and page may know it.
    pub fn entity(&self, vendor: &str, account: &str, entity: &Entity) -> Entity {
        match (self.mode, entity) {
            (AgentLabel::Pseudonym | AgentLabel::None, Entity::Agent(key)) => {
                let digest = self.key.digest(&format!("{vendor}/{account}/{key}"));
                Entity::Agent(hex::encode(digest).into())
            }
            _ => entity.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pseudonyms_are_sixteen_hex_digits_of_the_keyed_hash() {
        let agent = Entity::Agent("asha".into());
        let names = AgentNames::new(AgentLabel::Pseudonym, HashKey::new(b"k"));
        let other = AgentNames::new(AgentLabel::Pseudonym, HashKey::new(b"l"));
        // printf %s ozonetel/support-in/asha | openssl dgst -sha256 -hmac k
        assert_eq!(names.entity("ozonetel", "support-in", &agent), Entity::Agent("134d48b48df53a38".into()));
        assert_ne!(names.entity("ozonetel", "support-in", &agent), other.entity("ozonetel", "support-in", &agent));
        let campaign = Entity::Campaign("sales".into());
        assert_eq!(names.entity("ozonetel", "support-in", &campaign), campaign);
    }
}
