//! How long a connection may take: headers have to arrive within 10 s of their first byte (or of the connection), an answer
//! has to be taken within 60 s, as nobody may hold one of few places for ever, and between two requests a connection may
//! rest for 60 s.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::Instant;

/// Time for the headers of a request.
const HEADER_TIME: Duration = Duration::from_secs(10);
/// Time for a whole answer to be taken, however long it is.
const ANSWER_TIME: Duration = Duration::from_mins(1);
/// Time between two requests.
const REST_TIME: Duration = Duration::from_mins(1);

/// What a connection is doing, and since when. Clones are the same connection's.
#[derive(Debug, Clone)]
pub(super) struct Activity(Arc<Mutex<(Phase, Instant)>>);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Headers,
    Answer,
    Rest,
}

/// The answer to one request is under way until this is dropped.
#[derive(Debug)]
pub(super) struct Answering(Activity);

/// A connection whose first bytes of a request are noticed.
#[derive(Debug)]
pub(super) struct Watched {
    stream: TcpStream,
    activity: Activity,
}

// === impl Activity ===

impl Activity {
    pub(super) fn new() -> Self {
        Self(Arc::new(Mutex::new((Phase::Headers, Instant::now()))))
    }

    /// Notes the phase, unless it is not `from`.
    fn turn(&self, from: Option<Phase>, to: Phase) {
        let mut now = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if from.is_none_or(|from| from == now.0) {
            *now = (to, Instant::now());
        }
    }

    /// The headers of a request are complete.
    pub(super) fn answer(&self) -> Answering {
        self.turn(None, Phase::Answer);
        Answering(self.clone())
    }

    /// Returns when the connection has done nothing for too long.
    pub(super) async fn expired(&self) {
        loop {
            let (phase, since) = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
            let until = match phase {
                Phase::Headers => since + HEADER_TIME,
                Phase::Rest => since + REST_TIME,
                Phase::Answer => since + ANSWER_TIME,
            };
            if Instant::now() >= until {
                return;
            }
            // Looked at again: nobody wakes this up when the phase turns.
            tokio::time::sleep_until(until.min(Instant::now() + HEADER_TIME)).await;
        }
    }
}

impl Drop for Answering {
    fn drop(&mut self) {
        self.0.turn(Some(Phase::Answer), Phase::Rest);
    }
}

// === impl Watched ===

impl Watched {
    pub(super) fn new(stream: TcpStream, activity: Activity) -> Self {
        Self { stream, activity }
    }
}

impl AsyncRead for Watched {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(cx, buf);
        if buf.filled().len() > before {
            self.activity.turn(Some(Phase::Rest), Phase::Headers);
        }
        read
    }
}

impl AsyncWrite for Watched {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn headers_have_ten_seconds_answers_and_rest_a_minute() {
        let (start, activity) = (Instant::now(), Activity::new());
        activity.expired().await;
        assert_eq!(start.elapsed(), HEADER_TIME);

        let activity = Activity::new();
        let (start, answering) = (Instant::now(), activity.answer());
        activity.expired().await;
        assert_eq!(start.elapsed(), ANSWER_TIME);
        drop(answering);
        let start = Instant::now();
        activity.expired().await;
        assert_eq!(start.elapsed(), REST_TIME);

        activity.turn(Some(Phase::Rest), Phase::Headers);
        let start = Instant::now();
        activity.expired().await;
        assert_eq!(start.elapsed(), HEADER_TIME);
    }
}
