//! Calls the server once a second, and prints who answered what.

use std::env::args;
use std::error::Error;
use std::process::exit;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::ServerName;
use spiffe::X509Source;
use spiffe_rustls::{authorizer, mtls_client};
use spiffe_rustls_tokio::TlsConnector;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let [_, address, expected] =
        <[String; 3]>::try_from(args().collect::<Vec<_>>()).map_err(|_| "usage: client HOST:PORT SERVER_SPIFFE_ID")?;
    // Waits until the agent gives this process an identity; from then on the configuration follows each renewal.
    let source = X509Source::new().await?;
    let config = mtls_client(source).authorize(authorizer::exact([expected])?).build()?;
    let connector = TlsConnector::new(Arc::new(config));
    loop {
        if let Err(error) = timeout(Duration::from_secs(10), call(&connector, &address)).await? {
            eprintln!("{error}");
            exit(1);
        }
        sleep(Duration::from_secs(1)).await;
    }
}

async fn call(connector: &TlsConnector, address: &str) -> Result<(), Box<dyn Error>> {
    let stream = TcpStream::connect(address).await?;
    // rustls asks for a name, which nothing is compared with: the SPIFFE ID takes its place.
    let (tls, peer) = connector.connect(ServerName::try_from("unused")?, stream).await?;
    let server = peer.require_spiffe_id()?;
    // A server that refuses says so only now: in TLS 1.3 the client is done with the handshake first.
    let greeting = BufReader::new(tls)
        .lines()
        .next_line()
        .await?
        .ok_or("the server has hung up")?;
    println!("{server}: {greeting}");
    Ok(())
}
