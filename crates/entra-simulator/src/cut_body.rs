//! A response body that breaks off: some bytes, a pause, then a closed connection.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, Bytes};
use tokio::io::{AsyncRead, ReadBuf};
use tokio::time::{Sleep, sleep};
use tokio_util::io::ReaderStream;

struct CutBody {
    left: Bytes,
    pause: Pin<Box<Sleep>>,
}

impl AsyncRead for CutBody {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if !self.left.is_empty() {
            let length = self.left.len().min(buffer.remaining());
            let now = self.left.split_to(length);
            buffer.put_slice(&now);
            return Poll::Ready(Ok(()));
        }
        self.pause.as_mut().poll(context).map(|()| Err(io::ErrorKind::ConnectionReset.into()))
    }
}

/// Creates the body. Without the pause, the server would drop the bytes with the connection, and the client would see
/// no response at all.
pub(crate) fn cut_body(bytes: Bytes, pause: Duration) -> Body {
    Body::from_stream(ReaderStream::new(CutBody { left: bytes, pause: Box::pin(sleep(pause)) }))
}
