//! How long a connection may take: headers have to arrive within 10 s of their first byte (or of the connection), an answer
//! has to be taken within 60 s, as nobody may hold one of few places for ever, and between two requests a connection may
//! rest for 60 s. Over HTTP/2 bytes tell nothing, and headers after the first have those 60 s.

use std::collections::BTreeMap;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;

/// Time for the headers of a request.
const HEADER_TIME: Duration = Duration::from_secs(10);
/// Time for a whole answer to be taken, however long it is.
const ANSWER_TIME: Duration = Duration::from_mins(1);
/// Time between two requests.
const REST_TIME: Duration = Duration::from_mins(1);

/// What a connection is doing, and since when. Clones are the same connection's.
#[derive(Debug, Clone)]
pub(super) struct Activity(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    /// Whether headers are under way, or else nothing, while no answer is.
    headers: bool,
    since: Instant,
    /// When the answers under way began; over HTTP/2 they are several.
    answers: BTreeMap<u64, Instant>,
    requests: u64,
}

/// The answer to one request is under way until this is dropped.
#[derive(Debug)]
pub(super) struct Answering {
    activity: Activity,
    request: u64,
}

/// A connection whose first bytes of a request are noticed.
#[derive(Debug)]
pub(super) struct Watched<S> {
    stream: S,
    activity: Activity,
}

// === impl Activity ===

impl Activity {
    pub(super) fn new() -> Self {
        let state = State { headers: true, since: Instant::now(), answers: BTreeMap::new(), requests: 0 };
        Self(Arc::new(Mutex::new(state)))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Something came from the client.
    fn noticed(&self) {
        let mut state = self.state();
        if !state.headers && state.answers.is_empty() {
            (state.headers, state.since) = (true, Instant::now());
        }
    }

    /// The headers of a request are complete.
    pub(super) fn answer(&self) -> Answering {
        let mut state = self.state();
        state.headers = false;
        state.requests += 1;
        let request = state.requests;
        state.answers.insert(request, Instant::now());
        Answering { activity: self.clone(), request }
    }

    /// Returns when the connection has done nothing for too long.
    pub(super) async fn expired(&self) {
        loop {
            let until = {
                let state = self.state();
                // The oldest counts: new requests do not save a connection on which nobody reads.
                match state.answers.values().min() {
                    Some(began) => *began + ANSWER_TIME,
                    None if state.headers => state.since + HEADER_TIME,
                    None => state.since + REST_TIME,
                }
            };
            if Instant::now() >= until {
                return;
            }
            // Looked at again: nobody wakes this up when that turns.
            tokio::time::sleep_until(until.min(Instant::now() + HEADER_TIME)).await;
        }
    }
}

impl Drop for Answering {
    fn drop(&mut self) {
        let mut state = self.activity.state();
        state.answers.remove(&self.request);
        state.since = Instant::now();
    }
}

// === impl Watched ===

impl<S> Watched<S> {
    pub(super) fn new(stream: S, activity: Activity) -> Self {
        Self { stream, activity }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(cx, buf);
        if buf.filled().len() > before {
            self.activity.noticed();
        }
        read
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Watched<S> {
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

        activity.noticed();
        let start = Instant::now();
        activity.expired().await;
        assert_eq!(start.elapsed(), HEADER_TIME);
    }

    #[tokio::test(start_paused = true)]
    async fn a_newer_answer_does_not_save_an_older_one() {
        let (start, activity) = (Instant::now(), Activity::new());
        let _unread = activity.answer();
        tokio::time::sleep(Duration::from_secs(50)).await;
        drop(activity.answer());
        let _newer = activity.answer();
        activity.expired().await;
        assert_eq!(start.elapsed(), ANSWER_TIME);
    }
}
