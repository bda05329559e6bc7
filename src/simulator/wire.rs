//! What is done to a connection instead of answering. The request has been read to its end.

use std::io;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::script::behaviour::{Act, Place};

/// The good answer that is sent in part or slowly.
const HEAD: &[u8] =
    b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 10\r\nconnection: close\r\n\r\n";
const BODY: &[u8] = b"{\"code\":0}";
const ENDLESS_HEAD: &[u8] = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
const GARBAGE: &[u8] = b"\x00\xff\xfe this is not HTTP \x1b[31m\r\n\r\n<script>alert(1)</script>\r\n";

/// Does it. A client that goes away meanwhile ends it, and is no fault.
pub(super) async fn perform(mut stream: TcpStream, act: &Act) {
    let _ended_early = match act {
        Act::Hang => wait_for_close(&mut stream).await,
        Act::Reset(place) => reset(stream, *place).await,
        Act::Cut => send(&mut stream, &[HEAD, &BODY[..4]]).await,
        Act::Garbage => send(&mut stream, &[GARBAGE]).await,
        Act::Drip { from, every } => drip(&mut stream, *from, *every).await,
        Act::Endless => send_without_end(&mut stream).await,
        // Closing is all that a drop is. A reply never comes here.
        Act::Drop | Act::Reply(_) => Ok(()),
    };
}

async fn wait_for_close(stream: &mut TcpStream) -> io::Result<()> {
    let mut ignored = [0; 1024];
    while stream.read(&mut ignored).await? > 0 {}
    Ok(())
}

async fn send(stream: &mut TcpStream, parts: &[&[u8]]) -> io::Result<()> {
    for part in parts {
        stream.write_all(part).await?;
    }
    stream.shutdown().await
}

async fn reset(mut stream: TcpStream, place: Place) -> io::Result<()> {
    match place {
        Place::Start => {}
        Place::Head => stream.write_all(&HEAD[..20]).await?,
        Place::Body => {
            stream.write_all(HEAD).await?;
            stream.write_all(&BODY[..4]).await?;
        }
    }
    // With no time to linger, closing sends a reset.
    socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO))
}

async fn drip(stream: &mut TcpStream, from: Place, every: Duration) -> io::Result<()> {
    let slow = match from {
        Place::Start | Place::Head => [HEAD, BODY].concat(),
        Place::Body => {
            stream.write_all(HEAD).await?;
            BODY.to_vec()
        }
    };
    for byte in slow {
        tokio::time::sleep(every).await;
        stream.write_all(&[byte]).await?;
    }
    stream.shutdown().await
}

async fn send_without_end(stream: &mut TcpStream) -> io::Result<()> {
    let mut chunk = b"4000\r\n".to_vec();
    chunk.resize(chunk.len() + 0x4000, b'x');
    chunk.extend_from_slice(b"\r\n");
    stream.write_all(ENDLESS_HEAD).await?;
    loop {
        stream.write_all(&chunk).await?;
    }
}
