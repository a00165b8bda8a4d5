//! mTLS with the configurations that `spiffe-rustls` makes, over connections that `spiffe-rustls-tokio` makes.

use std::collections::HashMap;
use std::error::Error;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use base64::{Engine, prelude::BASE64_STANDARD};
use rustls::CommonState;
use rustls::pki_types::ServerName;
use serde_json::{Value, json};
use spiffe::X509Source;
use spiffe_rustls::{authorizer, mtls_client, mtls_server};
use spiffe_rustls_tokio::{PeerIdentity, TlsAcceptor, TlsConnector};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufStream};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;
use tokio_rustls::{client, server};

use crate::{Answer, event, reasons};

const DEADLINE: Duration = Duration::from_secs(10);

type Failure = Box<dyn Error>;

type Connection = BufStream<client::TlsStream<TcpStream>>;

/// The connections that stay open, by the address of their server.
pub type Kept = HashMap<String, Connection>;

/// Serves mTLS on a free port to peers of one SPIFFE ID; the address. It tells each whom it has met, and then says again what is said
/// to it. How each handshake went becomes an event.
pub async fn listen(source: &X509Source, expect: &str) -> Answer {
    let config = mtls_server(source.clone())
        .authorize(authorizer::exact([expect])?)
        .build()?;
    let acceptor = TlsAcceptor::new(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                // Whatever comes after the handshake is the client's to judge.
                match acceptor.accept(stream).await {
                    Ok((stream, peer)) => drop(serve(BufStream::new(stream), &peer).await),
                    Err(error) => event("refused", json!(reasons(&error))),
                }
            });
        }
    });
    Ok(json!(address.to_string()))
}

async fn serve(mut stream: BufStream<server::TlsStream<TcpStream>>, peer: &PeerIdentity) -> std::io::Result<()> {
    let met = met(peer, stream.get_ref().get_ref().1);
    event("accepted", met["id"].clone());
    let mut said = format!("{met}\n");
    while !said.is_empty() {
        stream.write_all(said.as_bytes()).await?;
        stream.flush().await?;
        said.clear();
        stream.read_line(&mut said).await?;
    }
    Ok(())
}

/// Whom it has reached, and who the other side says that we are.
pub async fn dial(source: &X509Source, address: &str, expect: &str) -> Answer {
    let (_, meeting) = connect(source, address, expect).await?;
    Ok(json!({ "peer": meeting["peer"]["id"], "us": meeting["us"]["id"] }))
}

/// Dials, and keeps the connection.
pub async fn open(kept: &mut Kept, source: &X509Source, address: &str, expect: &str) -> Answer {
    let (stream, meeting) = connect(source, address, expect).await?;
    kept.insert(address.to_owned(), stream);
    Ok(meeting)
}

/// What comes back on the connection that `open` has kept.
pub async fn say(kept: &mut Kept, address: &str, word: &str) -> Answer {
    let stream = kept.get_mut(address).ok_or("open comes first")?;
    stream.write_all(format!("{word}\n").as_bytes()).await?;
    stream.flush().await?;
    Ok(json!(line(stream).await?))
}

async fn connect(source: &X509Source, address: &str, expect: &str) -> Result<(Connection, Value), Failure> {
    let config = mtls_client(source.clone())
        .authorize(authorizer::exact([expect])?)
        .build()?;
    let address: SocketAddr = address.parse()?;
    // TLS wants a name to send; it is the SPIFFE ID that is verified.
    let name = ServerName::from(address.ip());
    let connector = TlsConnector::new(Arc::new(config));
    let (stream, peer) = timeout(DEADLINE, connector.connect_addr(address, name)).await??;
    let state = stream.get_ref().1;
    let (peer, tls) = (met(&peer, state), state.protocol_version());
    let mut stream = BufStream::new(stream);
    // In TLS 1.3 the server's refusal comes after the client's handshake, with the first read.
    let us: Value = serde_json::from_str(&line(&mut stream).await?)?;
    let tls = tls.and_then(|version| version.as_str()).unwrap_or_default();
    Ok((
        stream,
        json!({ "peer": peer, "us": us, "tls": tls.replace("TLSv1_", "TLSv1.") }),
    ))
}

async fn line(stream: &mut Connection) -> std::io::Result<String> {
    let mut line = String::new();
    timeout(DEADLINE, stream.read_line(&mut line)).await??;
    Ok(line.trim_end().to_owned())
}

/// The other side, which the handshake has verified; the leaf is base64 of DER.
fn met(peer: &PeerIdentity, state: &CommonState) -> Value {
    let leaf = state
        .peer_certificates()
        .and_then(<[_]>::first)
        .map(|leaf| BASE64_STANDARD.encode(leaf));
    json!({ "id": peer.spiffe_id().map(ToString::to_string), "leaf": leaf })
}
