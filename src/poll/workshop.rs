//! Work that would hold up the event loop: transactions, which wait for the disk, and encoding. One piece of a kind at once,
//! as each kind has a lock of its own anyway. Threads that waited for it would each keep the memory that they once needed:
//! with ten large accounts a hundred megabytes.

use std::sync::Arc;

use tokio::sync::Semaphore;
use tokio::task::JoinError;

/// Who does one kind of work. Clones are the same.
#[derive(Debug, Clone)]
pub struct Workshop(Option<Arc<Semaphore>>);

impl Workshop {
    /// A thread beside the event loop if `aside`, else the loop itself.
    pub fn new(aside: bool) -> Self {
        Self(aside.then(|| Arc::new(Semaphore::new(1))))
    }

    /// Has it done; an error is a panic.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, JoinError> {
        let Some(turns) = &self.0 else { return Ok(work()) };
        // Never closed, so that his turn comes.
        let _turn = turns.acquire().await;
        tokio::task::spawn_blocking(work).await
    }
}
