//! What was made last is kept: plans for the shapes that pictures have.

use std::sync::{Arc, Mutex, PoisonError};

/// The values last used of so many keys.
pub struct Recent<K, V> {
    most: usize,
    /// Newest last.
    kept: Mutex<Vec<(K, Arc<V>)>>,
}

impl<K: PartialEq, V> Recent<K, V> {
    /// Keeps at most so many.
    pub fn new(most: usize) -> Self {
        Self { most, kept: Mutex::default() }
    }

    fn take(kept: &mut Vec<(K, Arc<V>)>, key: &K) -> Option<Arc<V>> {
        let at = kept.iter().position(|(k, _)| k == key)?;
        let found = kept.remove(at);
        let value = found.1.clone();
        kept.push(found);
        Some(value)
    }

    /// The value of a key, made where it is not kept.
    pub fn get<E>(&self, key: K, make: impl FnOnce() -> Result<V, E>) -> Result<Arc<V>, E> {
        if let Some(found) = Self::take(&mut self.kept.lock().unwrap_or_else(PoisonError::into_inner), &key) {
            return Ok(found);
        }
        // Made outside of the lock: others go on with what they have.
        let made = Arc::new(make()?);
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(found) = Self::take(&mut kept, &key) {
            return Ok(found);
        }
        if kept.len() >= self.most {
            kept.remove(0);
        }
        kept.push((key, made.clone()));
        Ok(made)
    }

    /// Forgets everything.
    pub fn clear(&self) {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_values_last_used_are_kept_and_made_once() {
        let recent = Recent::new(2);
        let get = |key: u32| {
            let mut made = false;
            let value = recent.get(key, || {
                made = true;
                Ok::<_, ()>(key * 10)
            });
            (*value.unwrap(), made)
        };
        assert_eq!([get(1), get(2), get(1), get(3)], [(10, true), (20, true), (10, false), (30, true)]);
        // 2 was used longest ago.
        assert_eq!([get(1), get(3), get(2)], [(10, false), (30, false), (20, true)]);
    }
}
