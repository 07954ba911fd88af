//! A wish to stop, shared by all who should hear it.

use std::sync::Arc;
use tokio::sync::watch;

/// A wish to stop. Copies share it; it cannot be taken back.
#[derive(Clone, Debug)]
pub struct Stop(Arc<watch::Sender<bool>>);

impl Default for Stop {
    fn default() -> Self {
        Self(Arc::new(watch::Sender::new(false)))
    }
}

impl Stop {
    /// Asked for by an interrupt or a termination signal of this process.
    pub fn on_signal() -> std::io::Result<Self> {
        let stop = Self::default();
        let asked = stop.clone();
        let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
        tokio::spawn(async move {
            tokio::select! {
                _ = tokio::signal::ctrl_c() => {}
                _ = terminate.recv() => {}
            }
            asked.ask();
        });
        Ok(stop)
    }

    /// Wishes it.
    pub fn ask(&self) {
        self.0.send_replace(true);
    }

    /// Whether somebody wished it.
    pub fn is_asked(&self) -> bool {
        *self.0.borrow()
    }

    /// Returns when somebody wishes it.
    pub async fn asked(&self) {
        let mut heard = self.0.subscribe();
        // The sender lives as long as this.
        drop(heard.wait_for(|asked| *asked).await);
    }

    /// A stop that comes with whichever of the two comes first.
    #[must_use]
    pub fn or(&self, other: &Self) -> Self {
        let both = Self::default();
        if self.is_asked() || other.is_asked() {
            both.ask();
            return both;
        }
        let (a, b, asked) = (self.clone(), other.clone(), Arc::downgrade(&both.0));
        tokio::spawn(async move {
            tokio::select! {
                () = a.asked() => {}
                () = b.asked() => {}
            }
            if let Some(asked) = asked.upgrade() {
                asked.send_replace(true);
            }
        });
        both
    }
}
