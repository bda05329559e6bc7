//! The bodies that a simulator answers with.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};

use super::stage::Stage;

/// Lines of the journal in one part of the answer; the journal is locked for as long as it takes to write them.
const LINES_PER_FRAME: usize = 1_000;

/// What fillers are made of.
static FILLER: [u8; 16 * 1024] = [b'x'; 16 * 1024];

/// The body of an answer.
pub(super) enum AnswerBody {
    /// These bytes.
    Whole(Bytes),
    /// As many more bytes as this.
    Filler(u64),
    /// The journal from this entry on.
    Journal(Arc<Stage>, usize),
}

impl Body for AnswerBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let bytes = match &mut *self {
            Self::Whole(bytes) => std::mem::take(bytes),
            Self::Filler(left) => next_filler(left),
            Self::Journal(stage, from) => next_lines(stage, from),
        };
        Poll::Ready((!bytes.is_empty()).then(|| Ok(Frame::data(bytes))))
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Whole(bytes) => bytes.is_empty(),
            Self::Filler(left) => *left == 0,
            Self::Journal(..) => false,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Self::Filler(left) => SizeHint::with_exact(*left),
            Self::Journal(..) => SizeHint::default(),
        }
    }
}

fn next_filler(left: &mut u64) -> Bytes {
    let length = usize::try_from(*left).unwrap_or(usize::MAX).min(FILLER.len());
    *left -= length as u64;
    Bytes::from_static(&FILLER[..length])
}

fn next_lines(stage: &Stage, from: &mut usize) -> Bytes {
    let mut lines = String::new();
    if let Some(next) = stage.write_lines(*from, LINES_PER_FRAME, &mut lines) {
        *from = next;
    }
    lines.into()
}
