//! The identity of a prediction.

use uuid::Uuid;

/// Namespace of prediction ids: UUID v5 of the URL namespace and this project's name, fixed for ever.
const NAMESPACE: Uuid = Uuid::from_u128(0x5f0c_4c0e_0f5b_5c52_9d4e_2a6f_6b8e_1d37);

/// The prediction that an update asks for. The same update, delivered twice, gives the same id; an edited caption or a
/// tap on a button is another update and gives another id.
///
/// `part` tells the photos of one update apart (0 where there is one).
pub fn prediction_id(bot_id: u64, update_id: u32, part: u32) -> String {
    Uuid::new_v5(&NAMESPACE, format!("{bot_id}/{update_id}/{part}").as_bytes()).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_update_gives_the_same_id_and_another_another() {
        assert_eq!(prediction_id(1, 2, 0), prediction_id(1, 2, 0));
        assert_ne!(prediction_id(1, 2, 0), prediction_id(1, 3, 0));
        assert_ne!(prediction_id(1, 2, 0), prediction_id(2, 2, 0));
        assert_ne!(prediction_id(1, 2, 0), prediction_id(1, 2, 1));
        assert_ne!(prediction_id(1, 12, 0), prediction_id(11, 2, 0));
    }
}
