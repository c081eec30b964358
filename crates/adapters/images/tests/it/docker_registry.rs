//! Debian's docker-registry, as a process of the test's own.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use http_kit::{Bytes, HeaderValue, Method, header};
use images::Digest;
use web_client::{Call, WebClient};

use crate::kit::Built;

pub(crate) struct DockerRegistry {
    process: Child,
    pub(crate) address: String,
}

impl DockerRegistry {
    /// One that keeps its images in `dir`; `more` are further lines of its configuration, and `http`
    /// of its `http` section.
    pub(crate) fn start(dir: &Path, more: &str, http: &str) -> DockerRegistry {
        static CONFIGS: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
        let count = CONFIGS.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let config = dir.join(format!("config-{count}.yml"));
        let storage = dir.join("storage");
        let text = format!(
            "version: 0.1\nlog:\n  level: info\nstorage:\n  filesystem:\n    rootdirectory: {}\n\
             http:\n  addr: 127.0.0.1:0\n  secret: x\n{http}{more}",
            storage.display()
        );
        std::fs::write(&config, text).unwrap();
        let mut process = Command::new("docker-registry")
            .arg("serve")
            .arg(&config)
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("docker-registry is installed (`make test` does it)");
        let mut lines = BufReader::new(process.stderr.take().unwrap()).lines();
        let mut log = Vec::new();
        let address = loop {
            let Some(Ok(line)) = lines.next() else { panic!("docker-registry ended: {log:?}") };
            if let Some((_, rest)) = line.split_once("listening on ") {
                let end =
                    rest.find(|letter: char| letter != '.' && letter != ':' && !letter.is_ascii_digit());
                break rest[..end.unwrap_or(rest.len())].to_owned();
            }
            log.push(line);
        };
        // It must not stop at a full pipe.
        std::thread::spawn(move || lines.for_each(drop));
        DockerRegistry { process, address }
    }

    /// Without authentication and TLS.
    pub(crate) fn plain(dir: &Path) -> DockerRegistry {
        DockerRegistry::start(dir, "", "")
    }

    pub(crate) async fn push(&self, image: &Built, repository: &str, tag: &str) {
        for (digest, blob) in &image.blobs {
            let digest = Digest::parse(digest).unwrap();
            self.push_blob(repository, &digest, blob).await;
        }
        self.push_manifest(repository, tag, &image.kind, &image.manifest).await;
    }

    async fn push_blob(&self, repository: &str, digest: &Digest, blob: &[u8]) {
        let web = WebClient::new(web_client::Config::default());
        let start = format!("http://{}/v2/{repository}/blobs/uploads/", self.address);
        let mut call = Call::get(start.parse().unwrap());
        call.method = Method::POST;
        let answer = web.send(call).await.unwrap();
        let location = answer.header(header::LOCATION).unwrap().to_owned();
        let mut call = Call::get(format!("{location}&digest={digest}").parse().unwrap());
        (call.method, call.body) = (Method::PUT, Bytes::copy_from_slice(blob));
        assert_eq!(web.send(call).await.unwrap().status, 201);
    }

    pub(crate) async fn push_manifest(&self, repository: &str, tag: &str, kind: &str, manifest: &[u8]) {
        let web = WebClient::new(web_client::Config::default());
        let url = format!("http://{}/v2/{repository}/manifests/{tag}", self.address);
        let kind = HeaderValue::from_str(kind).unwrap();
        let mut call = Call::get(url.parse().unwrap()).with_header(header::CONTENT_TYPE, kind);
        (call.method, call.body) = (Method::PUT, Bytes::copy_from_slice(manifest));
        let answer = web.send(call).await.unwrap();
        let status = answer.status;
        let said = answer.body.read(1 << 20).await.unwrap();
        assert_eq!(status, 201, "{}", String::from_utf8_lossy(&said));
    }
}

impl Drop for DockerRegistry {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
