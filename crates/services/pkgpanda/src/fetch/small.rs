use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use http_kit::StatusCode;
use tracing::debug;
use web_client::{Call, Url, WebClient};

use super::origin::Place;
use super::{FetchError, Fetcher, Origin};

/// The largest file that is read whole.
const LIMIT: usize = 4096;

impl Fetcher {
    /// The text of a small file at a path below the repository's URL. Blocks until it is there.
    ///
    /// # Errors
    /// There is no such file, it has more than 4 KiB, or it is no text.
    pub(crate) fn small_text(&self, origin: &Origin, path: &str) -> Result<String, FetchError> {
        let (name, bytes) = match origin.place(path)? {
            Place::File(path) => {
                let bytes = read(&path).map_err(FetchError::store("read", &path))?;
                (path.display().to_string(), bytes)
            }
            Place::Web(url) => {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
                let bytes = runtime.map_err(FetchError::Runtime)?.block_on(self.small(&url))?;
                (url.to_string(), bytes)
            }
        };
        if bytes.len() > LIMIT {
            return Err(FetchError::NotSmall { name, limit: LIMIT });
        }
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    async fn small(&self, url: &Url) -> Result<Vec<u8>, FetchError> {
        let client = WebClient::new(self.client.clone());
        let (mut attempt, mut pause) = (1, self.pause);
        loop {
            match once(&client, url).await {
                Err(error) if error.is_transient() && attempt < self.attempts => {
                    debug!(%url, %error, "the file will be asked for again");
                    tokio::time::sleep(pause).await;
                    (attempt, pause) = (attempt + 1, pause.saturating_mul(2));
                }
                ended => return ended,
            }
        }
    }
}

async fn once(client: &WebClient, url: &Url) -> Result<Vec<u8>, FetchError> {
    let answer = client.send(Call::get(url.clone())).await.map_err(|error| FetchError::Web { error })?;
    if answer.status != StatusCode::OK {
        return Err(FetchError::Status { url: url.clone(), status: answer.status });
    }
    let mut body = answer.body;
    let mut bytes = Vec::new();
    while bytes.len() <= LIMIT
        && let Some(piece) = body.next().await
    {
        bytes.extend_from_slice(&piece.map_err(|error| FetchError::Web { error })?);
    }
    Ok(bytes)
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(LIMIT as u64 + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}
