//! The webhook's secret, which the controller tells Telegram and polybot expects in every delivery.

use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};

/// Header that carries the secret in a delivery.
pub const SECRET_HEADER: &str = "X-Telegram-Bot-Api-Secret-Token";

/// First 32 hexadecimal digits of HMAC-SHA256(key = bot token, "polybot webhook secret v1").
pub fn secret(token: &str) -> String {
    #[expect(clippy::expect_used, reason = "HMAC takes a key of any length")]
    let mut mac = Hmac::<Sha256>::new_from_slice(token.as_bytes()).expect("any length");
    mac.update(b"polybot webhook secret v1");
    hex::encode(mac.finalize().into_bytes())[..32].to_owned()
}

/// The path that Telegram posts to: `/telegram/{digest}`. The digest is of certificate and secret, so that a change of
/// either shows as a change of the URL. Polybot itself ignores it (a renewal must not answer 404).
pub fn path(certificate_pem: &str, secret: &str) -> String {
    let digest = Sha256::new().chain_update(certificate_pem).chain_update([0]).chain_update(secret).finalize();
    format!("/telegram/{}", &hex::encode(digest)[..12])
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `printf 'polybot webhook secret v1' | openssl dgst -sha256 -hmac '123456:test-token'`
    #[test]
    fn the_secret_has_a_test_vector() {
        assert_eq!(secret("123456:test-token"), "fb3fb6f5cc48271451f456135137b6e6");
    }

    #[test]
    fn a_new_certificate_or_secret_gives_a_new_path() {
        assert_eq!(path("a", "b"), path("a", "b"));
        assert_ne!(path("a", "b"), path("c", "b"));
        assert_ne!(path("a", "b"), path("a", "c"));
        assert_ne!(path("ab", "c"), path("a", "bc"));
    }
}
