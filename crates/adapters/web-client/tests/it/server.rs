//! Servers that answer as the test says, byte by byte.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;

/// What a server does with a request.
pub(crate) enum Answer {
    /// Say this and close.
    Close(Vec<u8>),
    /// Say this and keep the connection open.
    Hold(Vec<u8>),
    /// Open a way to there.
    Tunnel(SocketAddr),
}

/// A request's head.
pub(crate) struct Head {
    pub(crate) line: String,
    text: String,
}

impl Head {
    /// A header's value, or nothing.
    pub(crate) fn header(&self, name: &str) -> &str {
        let lines = self.text.lines().filter_map(|line| line.split_once(':'));
        let mut found = lines.filter(|(found, _)| found.eq_ignore_ascii_case(name));
        found.next().map_or("", |(_, value)| value.trim())
    }
}

/// A whole response.
pub(crate) fn response(status: &str, header: &str, body: &str) -> Vec<u8> {
    let header = if header.is_empty() { String::new() } else { format!("{header}\r\n") };
    format!("HTTP/1.1 {status}\r\n{header}Content-Length: {}\r\n\r\n{body}", body.len()).into_bytes()
}

/// Listens until it is dropped.
pub(crate) struct Server {
    address: SocketAddr,
    scheme: &'static str,
    _tasks: JoinSet<()>,
}

impl Server {
    pub(crate) async fn start(answer: impl Fn(Head) -> Answer + Send + Sync + 'static) -> Server {
        Server::listen(None, answer).await
    }

    /// With a certificate for `localhost` and `secure.example`; the file is what has to be trusted.
    pub(crate) async fn start_tls(
        answer: impl Fn(Head) -> Answer + Send + Sync + 'static,
    ) -> (Server, tempfile::NamedTempFile) {
        let names = vec!["localhost".to_owned(), "secure.example".to_owned()];
        let own = rcgen::generate_simple_self_signed(names).expect("a certificate can be made");
        let root = tempfile::NamedTempFile::new().expect("there is a place for a file");
        std::fs::write(root.path(), own.cert.pem()).expect("the file can be written");
        let key = rustls_pki_types::PrivateKeyDer::try_from(own.signing_key.serialize_der());
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("the provider knows them")
            .with_no_client_auth()
            .with_single_cert(vec![own.cert.der().clone()], key.expect("it is a key"))
            .expect("they belong together");
        (Server::listen(Some(TlsAcceptor::from(Arc::new(config))), answer).await, root)
    }

    async fn listen(
        tls: Option<TlsAcceptor>,
        answer: impl Fn(Head) -> Answer + Send + Sync + 'static,
    ) -> Server {
        // A certificate is of `localhost`. Else an address of this test's own: the port of a server that has gone is not
        // another test's next one.
        let [_, _, high, low] = std::process::id().to_be_bytes();
        let ip = if tls.is_some() { [127, 0, 0, 1] } else { [127, 66, high, low.max(1)] };
        let listener = TcpListener::bind(SocketAddr::from((ip, 0))).await.expect("a port is free");
        let address = listener.local_addr().expect("it is bound");
        let scheme = if tls.is_some() { "https" } else { "http" };
        let answer = Arc::new(answer);
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut serving = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let (tls, answer) = (tls.clone(), Arc::clone(&answer));
                serving.spawn(async move {
                    match tls {
                        None => converse(stream, &*answer).await,
                        Some(tls) => {
                            if let Ok(stream) = tls.accept(stream).await {
                                converse(stream, &*answer).await;
                            }
                        }
                    }
                });
            }
        });
        Server { address, scheme, _tasks: tasks }
    }

    pub(crate) fn port(&self) -> u16 {
        self.address.port()
    }

    pub(crate) fn url(&self, credentials: &str, path: &str) -> String {
        let host =
            if self.scheme == "https" { "localhost".to_owned() } else { self.address.ip().to_string() };
        format!("{}://{credentials}{host}:{}{path}", self.scheme, self.port())
    }
}

async fn converse<S: AsyncRead + AsyncWrite + Unpin>(
    mut stream: S,
    answer: &(impl Fn(Head) -> Answer + ?Sized),
) {
    let mut text = Vec::new();
    while !text.ends_with(b"\r\n\r\n") {
        match stream.read_u8().await {
            Ok(byte) => text.push(byte),
            Err(_) => return,
        }
    }
    let text = String::from_utf8_lossy(&text).into_owned();
    let line = text.lines().next().unwrap_or_default().to_owned();
    match answer(Head { line, text }) {
        Answer::Close(bytes) => {
            // The client may have heard enough.
            let _ = stream.write_all(&bytes).await;
            let _ = stream.shutdown().await;
        }
        Answer::Hold(bytes) => {
            let _ = stream.write_all(&bytes).await;
            let _ = stream.flush().await;
            std::future::pending::<()>().await;
        }
        Answer::Tunnel(to) => {
            let mut other = TcpStream::connect(to).await.expect("the test's server listens");
            stream.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n").await.expect("it listens");
            let _ = tokio::io::copy_bidirectional(&mut stream, &mut other).await;
        }
    }
}
