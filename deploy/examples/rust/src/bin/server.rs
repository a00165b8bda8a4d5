//! Greets whoever presents the allowed SPIFFE ID.

use std::env::args;
use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use spiffe::X509Source;
use spiffe_rustls::{authorizer, mtls_server};
use spiffe_rustls_tokio::TlsAcceptor;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let [_, address, allowed] =
        <[String; 3]>::try_from(args().collect::<Vec<_>>()).map_err(|_| "usage: server HOST:PORT ALLOWED_SPIFFE_ID")?;
    // Waits until the agent gives this process an identity; from then on the configuration follows each renewal.
    let source = X509Source::new().await?;
    let config = mtls_server(source).authorize(authorizer::exact([allowed])?).build()?;
    let acceptor = TlsAcceptor::new(Arc::new(config));
    let listener = TcpListener::bind(address).await?;
    println!("listening on {}", listener.local_addr()?);
    loop {
        let (stream, _) = listener.accept().await?;
        let acceptor = acceptor.clone();
        tokio::spawn(async move {
            match timeout(Duration::from_secs(10), greet(&acceptor, stream)).await {
                Ok(Ok(client)) => println!("greeted {client}"),
                Ok(Err(error)) => eprintln!("refused: {error}"),
                Err(late) => eprintln!("refused: {late}"),
            }
        });
    }
}

async fn greet(acceptor: &TlsAcceptor, stream: TcpStream) -> Result<String, Box<dyn Error + Send + Sync>> {
    let (mut tls, peer) = acceptor.accept(stream).await?;
    let client = peer.require_spiffe_id()?.to_string();
    tls.write_all(format!("Hello, {client}\n").as_bytes()).await?;
    tls.shutdown().await?;
    Ok(client)
}
