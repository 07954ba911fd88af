//! A wish to stop, shared by all who should hear it.

use futures::future::select_all;
use std::sync::Arc;
use tokio::sync::watch;

/// A wish to stop. Copies share it; it cannot be taken back.
#[derive(Clone, Debug)]
pub struct Stop {
    wished: Arc<watch::Sender<bool>>,
    /// Wishes of others that count as this one.
    others: Vec<Arc<watch::Sender<bool>>>,
}

impl Default for Stop {
    fn default() -> Self {
        Self { wished: Arc::new(watch::Sender::new(false)), others: Vec::new() }
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
        self.wished.send_replace(true);
    }

    /// Whether somebody wished it.
    pub fn is_asked(&self) -> bool {
        self.all().any(|wished| *wished.borrow())
    }

    /// Returns when somebody wishes it.
    pub async fn asked(&self) {
        select_all(self.all().map(|wished| {
            let mut heard = wished.subscribe();
            Box::pin(async move {
                // The sender lives as long as this.
                drop(heard.wait_for(|asked| *asked).await);
            })
        }))
        .await;
    }

    /// A stop that comes with whichever of the two comes first. It is asked for the moment one of them is: nothing has to run
    /// in between.
    #[must_use]
    pub fn or(&self, other: &Self) -> Self {
        Self { others: self.all().chain(other.all()).cloned().collect(), ..Self::default() }
    }

    fn all(&self) -> impl Iterator<Item = &Arc<watch::Sender<bool>>> {
        std::iter::once(&self.wished).chain(&self.others)
    }
}

#[cfg(test)]
mod tests {
    use super::Stop;

    #[test]
    fn either_of_two_is_heard_at_once() {
        let (signal, own, lost) = (Stop::default(), Stop::default(), Stop::default());
        let pass = signal.or(&own).or(&lost);
        assert!(!pass.is_asked());
        signal.ask();
        assert!(pass.is_asked() && !own.is_asked() && !lost.is_asked());
    }
}
