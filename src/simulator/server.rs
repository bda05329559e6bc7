//! Accepts connections, reads requests, answers them or hands the connection over to be mistreated.
//!
//! Not axum: what it must be able to do to a connection (reset it, fall silent, send what is no HTTP) needs the socket itself.

use std::error::Error;
use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use http::header::CONTENT_TYPE;
use http::{HeaderValue, Request, Response};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::Service;
use hyper_util::rt::TokioIo;
use serde_json::json;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::body::AnswerBody;
use super::received::Received;
use super::stage::Stage;
use super::{control, wire};
use crate::script::behaviour::{Act, Reply, ReplyBody};

/// Most connections at a time; further ones wait to be accepted.
const CONNECTIONS_MAX: usize = 10_000;
/// After a failed accept (out of descriptors, mostly) it waits this long for some to be closed.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Serves until the stop token is cancelled; every connection has ended when this returns.
pub(super) async fn serve(listener: TcpListener, stage: Arc<Stage>, stop: CancellationToken) {
    let slots = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            biased;
            () = stop.cancelled() => break,
            Some((stream, slot)) = accept(&listener, &slots) => {
                stage.connected();
                connections.spawn(converse(stream, Arc::clone(&stage), slot));
            }
            // Only takes the ended ones out of the set.
            Some(_ended) = connections.join_next() => {}
        }
    }
    connections.shutdown().await;
}

/// The next connection, once there is room for it.
async fn accept(listener: &TcpListener, slots: &Arc<Semaphore>) -> Option<(TcpStream, OwnedSemaphorePermit)> {
    // The semaphore is never closed.
    let slot = Arc::clone(slots).acquire_owned().await.ok()?;
    loop {
        match listener.accept().await {
            Ok((stream, _peer)) => return Some((stream, slot)),
            Err(_) => tokio::time::sleep(ACCEPT_PAUSE).await,
        }
    }
}

/// Serves one connection to its end; the slot is free again then.
async fn converse(stream: TcpStream, stage: Arc<Stage>, _slot: OwnedSemaphorePermit) {
    // Without it a small answer would wait for the acknowledgement of the one before; where it cannot be set, it waits.
    let _slower = stream.set_nodelay(true);
    let mut connection = http1::Builder::new()
        .header_read_timeout(None)
        .serve_connection(TokioIo::new(stream), Conversation { stage });
    let ended = poll_fn(|context| connection.poll_without_shutdown(context)).await;
    let stream = connection.into_parts().io.into_inner();
    if let Some(Misbehaviour(act)) = ended.as_ref().err().and_then(misbehaviour) {
        wire::perform(stream, act).await;
    }
}

fn misbehaviour(error: &hyper::Error) -> Option<&Misbehaviour> {
    error.source().and_then(<dyn Error>::downcast_ref)
}

/// What is done to the connection instead of answering; travels as the service's error, which makes hyper let go of it.
#[derive(Debug)]
struct Misbehaviour(Act);

impl fmt::Display for Misbehaviour {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the simulator misbehaves")
    }
}

impl Error for Misbehaviour {}

struct Conversation {
    stage: Arc<Stage>,
}

impl Service<Request<Incoming>> for Conversation {
    type Response = Response<AnswerBody>;
    type Error = Misbehaviour;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        Box::pin(respond(Arc::clone(&self.stage), request))
    }
}

async fn respond(
    stage: Arc<Stage>,
    request: Request<Incoming>,
) -> Result<Response<AnswerBody>, Misbehaviour> {
    if request.uri().path().starts_with(control::PREFIX) {
        return Ok(control::respond(stage, request).await);
    }
    let (head, body) = request.into_parts();
    let Some(received) = stage.receive(head, body).await else { return Err(Misbehaviour(Act::Drop)) };
    let (reaction, place) = stage.react(&received);
    if !reaction.wait.is_zero() {
        tokio::time::sleep(reaction.wait).await;
    }
    match reaction.act {
        Act::Reply(reply) => {
            stage.answered(place, reply.status.as_u16());
            Ok(response(reply, &received))
        }
        act @ (Act::Hang
        | Act::Reset(_)
        | Act::Drop
        | Act::Cut
        | Act::Garbage
        | Act::Drip { .. }
        | Act::Endless) => Err(Misbehaviour(act)),
    }
}

fn response(reply: Reply, received: &Received) -> Response<AnswerBody> {
    let body = match reply.body {
        ReplyBody::Bytes(bytes) => AnswerBody::Whole(bytes),
        ReplyBody::Filler(length) => AnswerBody::Filler(length),
        ReplyBody::Echo => AnswerBody::Whole(echo(received).into()),
    };
    let mut response = Response::new(body);
    *response.status_mut() = reply.status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    for (name, value) in reply.headers {
        response.headers_mut().insert(name, value);
    }
    response
}

/// What was sent, as JSON.
fn echo(received: &Received) -> String {
    let seen = received.seen();
    let headers: serde_json::Map<_, _> =
        seen.headers.into_iter().map(|(name, value)| (name, value.into())).collect();
    json!({
        "method": seen.method,
        "target": seen.target,
        "headers": headers,
        "body": String::from_utf8_lossy(&seen.body),
    })
    .to_string()
}
