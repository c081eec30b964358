use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls_pki_types::{CertificateDer, ServerName, pem::PemObject};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::OnceCell;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use crate::error::Error;
use crate::url::Url;
use base::with_causes;

/// Where distributions keep the certificates that they trust, in one file.
const BUNDLES: [&str; 5] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// Makes connections private. The certificates are read at the first that needs them.
#[derive(Default)]
pub(crate) struct Tls {
    connector: OnceCell<TlsConnector>,
}

impl Tls {
    pub(crate) async fn connect<S>(
        &self,
        stream: S,
        url: &Url,
        extra_roots: &[PathBuf],
    ) -> Result<TlsStream<S>, Error>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let connector = self.connector.get_or_try_init(|| async {
            let extra = extra_roots.to_vec();
            let made = tokio::task::spawn_blocking(move || connector(&extra)).await;
            made.unwrap_or_else(|_| {
                Err(Error::Roots { path: "the system".into(), why: "the program is stopping".into() })
            })
        });
        let connector = connector.await?;
        let failed = |why: String| Error::Tls { url: url.clone(), host: url.host().to_owned(), why };
        let name = ServerName::try_from(url.host().to_owned()).map_err(|error| failed(error.to_string()))?;
        connector.connect(name, stream).await.map_err(|error| failed(with_causes(&error)))
    }
}

fn connector(extra_roots: &[PathBuf]) -> Result<TlsConnector, Error> {
    let mut roots = RootCertStore::empty();
    let bundle = match std::env::var_os("SSL_CERT_FILE") {
        Some(path) => Some(PathBuf::from(path)),
        None => BUNDLES.iter().map(PathBuf::from).find(|path| path.exists()),
    };
    for path in bundle.iter() {
        // A bundle of a distribution may hold one that we cannot read among many that we can.
        roots.add_parsable_certificates(read(path)?);
    }
    for path in extra_roots {
        for certificate in read(path)? {
            roots.add(certificate).map_err(|error| failed(path, error))?;
        }
    }
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| failed(Path::new("the TLS library"), error))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(TlsConnector::from(Arc::new(config)))
}

fn read(path: &Path) -> Result<Vec<CertificateDer<'static>>, Error> {
    let all = CertificateDer::pem_file_iter(path).map_err(|error| failed(path, error))?;
    all.collect::<Result<_, _>>().map_err(|error| failed(path, error))
}

fn failed(path: &Path, error: impl ToString) -> Error {
    Error::Roots { path: path.display().to_string(), why: error.to_string() }
}
