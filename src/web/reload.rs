//! `POST /-/reload`, and what SIGHUP does: whoever asks waits for the answer. The program takes one request after the other.

use tokio::sync::{mpsc, oneshot};

/// Asks the program to read its configuration again.
#[derive(Debug, Clone)]
pub struct Reloader(mpsc::Sender<oneshot::Sender<Result<(), String>>>);

/// More than this many at once wait before they are even noted.
const WAITING: usize = 8;

impl Reloader {
    /// The asking side, and the side that does it.
    pub fn new() -> (Self, mpsc::Receiver<oneshot::Sender<Result<(), String>>>) {
        let (sender, receiver) = mpsc::channel(WAITING);
        (Self(sender), receiver)
    }

    /// Done, or why everything stays as it was.
    pub async fn reload(&self) -> Result<(), String> {
        let stopping = || "the exporter is stopping".to_owned();
        let (sender, answer) = oneshot::channel();
        self.0.send(sender).await.map_err(|_| stopping())?;
        answer.await.map_err(|_| stopping())?
    }
}
