//! Physical names: `{prefix}-{environment}-{component}`, cut to AWS's limits. Pure.
//!
//! Names that are global carry more: those of IAM the region, that of the bucket account and region.

use super::PolybotStackSpec;
use sha2::{Digest, Sha256};

/// The names of one stack.
#[derive(Clone, Debug)]
pub struct Names {
    prefix: String,
    account: String,
    region: String,
}

impl Names {
    /// Names for a spec in an account.
    pub fn new(spec: &PolybotStackSpec, account: &str) -> Self {
        Self {
            prefix: format!("{}-{}", spec.prefix, spec.environment),
            account: account.to_owned(),
            region: spec.region.to_string(),
        }
    }

    /// What all names begin with.
    pub fn prefix(&self) -> String {
        self.prefix.clone()
    }

    /// A name within account and region, of at most `limit` characters.
    pub fn plain(&self, component: &str, limit: usize) -> String {
        fit(&format!("{}-{component}", self.prefix), limit)
    }

    /// A name of IAM, which is global: it carries the region.
    pub fn iam(&self, component: &str) -> String {
        fit(&format!("{}-{component}-{}", self.prefix, self.region), 64)
    }

    /// A name of S3, which is global over all accounts: it carries account and region.
    pub fn bucket(&self, component: &str) -> String {
        fit(&format!("{}-{component}-{}-{}", self.prefix, self.account, self.region), 63)
    }
}

/// The name itself where it fits; else its beginning and six characters of a digest of the whole.
pub fn fit(name: &str, limit: usize) -> String {
    if name.len() <= limit {
        return name.to_owned();
    }
    let kept: String = name.chars().take(limit.saturating_sub(7)).collect();
    format!("{}-{}", kept.trim_end_matches('-'), short_hash(name))
}

/// Six lower-case letters and digits (base 32) over a text.
pub fn short_hash(text: &str) -> String {
    const ALPHABET: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";
    Sha256::digest(text).iter().take(6).map(|b| char::from(ALPHABET[usize::from(b & 31)])).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_name_is_cut_and_stays_unique() {
        let long = "talo-a-very-long-environment-name-loadbalancer";
        let cut = fit(long, 32);
        assert!(cut.len() <= 32, "{cut}");
        assert!(cut.starts_with("talo-a-very-long-environm"));
        assert_ne!(cut, fit(&format!("{long}x"), 32));
        assert_eq!(fit("short", 32), "short");
    }
}
