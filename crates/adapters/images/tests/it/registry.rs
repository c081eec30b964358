//! Pulls from the real registry.

use std::os::unix::fs::FileTypeExt;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use images::{DockerConfig, Phase, Pull};
use rcgen::{CertificateParams, KeyPair, SigningKey};
use serde_json::json;

use crate::docker_registry::DockerRegistry;
use crate::fake::{Request, Server, response};
use crate::kit::{Here, Packed, Tar, build, docker, index, oci, parse, read, web, write};

/// `me:secret`, as htpasswd -B writes it.
const HTPASSWD: &str = "me:$2y$04$abcdefghijklmnopqrstuu2r9OfJnfCsdneAXAGHnS4UpFFP8WIrW\n";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_image_is_unpacked_whatever_its_layers_are_compressed_with() {
    let dir = tempfile::tempdir().unwrap();
    let registry = DockerRegistry::plain(dir.path());
    let base =
        Tar::default().dir("bin/").file("bin/sh", "shell").file("gone", "x").dir("opt/").file("opt/a", "a");
    let middle = Tar::default().file("bin/sh", "better shell").file(".wh.gone", "");
    let top = Tar::default().dir("opt/").file("opt/.wh..wh..opq", "").file("opt/b", "b");
    let layers = [(base.end(), Packed::Zstd), (middle.end(), Packed::Gzip), (top.end(), Packed::Plain)];
    let runtime = json!({"Entrypoint": ["/bin/sh"], "Env": ["A=b"], "User": "7", "WorkingDir": "/opt"});
    let image = oci(&layers, runtime);
    registry.push(&image, "team/web", "1").await;

    let here = Here::new().await;
    let name = format!("{}/team/web:1", registry.address);
    let (pulled, told) = here.pull_watched(&name).await;
    let pulled = pulled.unwrap();
    assert_eq!((&pulled.id, pulled.manifest.as_ref()), (&image.config, Some(&image.digest())));
    assert_eq!(pulled.config.entrypoint, ["/bin/sh"]);
    assert_eq!((pulled.config.user.as_str(), pulled.config.working_dir.as_str()), ("7", "/opt"));
    assert_eq!(pulled.layers.len(), 3);
    assert_eq!(read(&pulled, "bin/sh"), "better shell");
    let hidden = std::fs::symlink_metadata(pulled.layers[1].join("gone")).unwrap();
    assert!(hidden.file_type().is_char_device());
    let last = told.last().unwrap();
    let bytes: usize = image.layers.iter().map(|layer| image.blobs[&layer.to_string()].len()).sum();
    assert_eq!((last.phase, last.bytes_done, last.bytes_total), (Phase::Done, bytes as u64, bytes as u64));
    assert_eq!((last.layers_done, last.layers_total), (3, 3));

    // What is here needs no registry.
    drop(registry);
    assert_eq!(here.pull(&name).await.unwrap().id, image.config);
    let listed = here.images.list();
    assert_eq!((listed.len(), listed[0].layers, listed[0].reference.as_str()), (1, 3, name.as_str()));
    here.comes_to_rest(3).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn layers_that_are_here_are_not_asked_for_again() {
    let dir = tempfile::tempdir().unwrap();
    let registry = DockerRegistry::plain(dir.path());
    let base = Tar::default().file("base", "b");
    let one = docker(&[base.clone(), Tar::default().file("one", "1")]);
    let two = docker(&[base, Tar::default().file("two", "2")]);
    registry.push(&one, "a", "1").await;
    registry.push(&two, "a", "2").await;
    let here = Here::new().await;
    let first = here.pull(&format!("{}/a:1", registry.address)).await.unwrap();
    let (second, told) = here.pull_watched(&format!("{}/a:2", registry.address)).await;
    let second = second.unwrap();
    assert_eq!(first.layers[0], second.layers[0]);
    let bytes = two.blobs[&two.layers[1].to_string()].len() as u64;
    assert_eq!((told.last().unwrap().bytes_total, told.last().unwrap().layers_total), (bytes, 2));
    here.comes_to_rest(3).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ma20_of_an_index_the_image_for_this_machine_is_taken_by_tag_and_by_digest() {
    let dir = tempfile::tempdir().unwrap();
    let registry = DockerRegistry::plain(dir.path());
    let mine = docker(&[Tar::default().file("arch", "mine")]);
    let layer = (Tar::default().file("arch", "other").end(), Packed::Gzip);
    let other = build(&[layer], json!({}), "s390x", crate::kit::OCI);
    registry.push(&other, "multi", "other").await;
    registry.push(&mine, "multi", "mine").await;
    let kind = "application/vnd.oci.image.index.v1+json";
    let both = index(&[(&other, "s390x"), (&mine, crate::kit::architecture())]);
    registry.push_manifest("multi", "both", kind, &both).await;
    registry.push_manifest("multi", "foreign", kind, &index(&[(&other, "s390x")])).await;

    let here = Here::new().await;
    let name = |version: &str| format!("{}/multi{version}", registry.address);
    let wanted = format!("wanted linux/{}", crate::kit::architecture());
    here.refuse(&name(":foreign"), &["multi:foreign", &wanted, "it is for linux/s390x"]).await;
    here.refuse(&name(":other"), &[&wanted, "linux/s390x"]).await;
    let image = here.pull(&name(":both")).await.unwrap();
    assert_eq!((read(&image, "arch"), image.manifest), ("mine".to_owned(), Some(mine.digest())));
    let by_digest = here.pull(&name(&format!("@{}", images::Digest::of(&both)))).await.unwrap();
    assert_eq!(by_digest.id, mine.config);
    let nothing = images::Digest::of(b"nothing");
    let error = here.pull(&name(&format!("@{nothing}"))).await.unwrap_err().to_string();
    assert!(error.contains("does not exist in the registry"), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tag_that_moved_is_seen_when_forced() {
    let dir = tempfile::tempdir().unwrap();
    let registry = DockerRegistry::plain(dir.path());
    let name = format!("{}/app:latest", registry.address);
    let here = Here::new().await;
    for round in ["1", "2"] {
        registry.push(&docker(&[Tar::default().file("version", round)]), "app", "latest").await;
        assert_eq!(read(&here.pull(&name).await.unwrap(), "version"), "1");
    }
    let old = here.pull(&name).await.unwrap();
    here.images.hold(&old, &"old".into()).await.unwrap();
    assert_eq!(read(&here.force(&name).await.unwrap(), "version"), "2");
    assert_eq!(read(&here.pull(&name).await.unwrap(), "version"), "2");
    // What the tag meant before stays for its container, and no longer.
    assert_eq!(read(&old, "version"), "1");
    drop(old);
    here.comes_to_rest(2).await;
    here.images.release(&"old".into()).await.unwrap();
    // Its layer is not worth removing while there is room.
    here.comes_to_rest(2).await;
    let excluded = [parse(&name)];
    assert_eq!(here.images.prune(&excluded).await.unwrap().layers, 1);
    here.comes_to_rest(1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ma16_a_registry_that_wants_a_password_gets_it_from_the_docker_configuration() {
    let dir = tempfile::tempdir().unwrap();
    let image = docker(&[Tar::default().file("a", "a")]);
    DockerRegistry::plain(dir.path()).push(&image, "private", "1").await;
    let passwords = write(dir.path(), "htpasswd", HTPASSWD);
    let auth = format!("auth:\n  htpasswd:\n    realm: test\n    path: {}\n", passwords.display());
    let registry = DockerRegistry::start(dir.path(), &auth, "");
    let name = format!("{}/private:1", registry.address);

    let here = Here::new().await;
    here.refuse(&name, &["(401)", "needs a login", &registry.address, "docker.tar.gz"]).await;
    let with = |password: &str| Pull {
        credentials: Some(DockerConfig::basic(&registry.address, "me", password)),
        ..Pull::default()
    };
    let error = here.images.pull(&parse(&name), with("wrong")).await.unwrap_err().to_string();
    assert!(error.contains("not accepted") && !error.contains("wrong"), "{error}");
    here.is_empty().await;
    here.images.pull(&parse(&name), with("secret")).await.unwrap();

    // The agent's own configuration; read at each pull.
    let config = dir.path().join("config.json");
    let here = Here::with(|change| change.docker_config = Some(config.clone()), web()).await;
    here.refuse(&name, &["needs a login"]).await;
    let helped = json!({"credHelpers": {&registry.address: "pass"}});
    write(dir.path(), "config.json", helped.to_string());
    here.refuse(&name, &["credentials for the registry", "docker-credential-pass"]).await;
    write(dir.path(), "config.json", "{");
    here.refuse(&name, &["config.json", "line 1"]).await;
    let login =
        json!({"auths": {format!("http://{}", registry.address): {"auth": STANDARD.encode("me:secret")}}});
    write(dir.path(), "config.json", login.to_string());
    here.pull(&name).await.unwrap();
}

/// A token server as docker's registry trusts it: it signs JSON web tokens with a key of its own.
struct TokenServer {
    server: Server,
    certificate: String,
}

impl TokenServer {
    async fn start() -> TokenServer {
        let key = KeyPair::generate().unwrap();
        let certificate = CertificateParams::new(Vec::new()).unwrap().self_signed(&key).unwrap();
        let chain = STANDARD.encode(certificate.der());
        let server = Server::start(move |request| {
            let allowed = match request.method.as_str() {
                "POST" => request.body.contains("refresh_token=refresh%2Dme"),
                _ => request.header("authorization") == format!("Basic {}", STANDARD.encode("me:secret")),
            };
            let text = if request.method == "POST" { &request.body } else { &request.path };
            if !allowed || !text.contains("service=test%2Dregistry") {
                return response("401 Unauthorized", "", "{}");
            }
            assert!(text.contains("scope=repository%3Aprivate%3Apull"), "{text}");
            let token = sign(&key, &chain, &["pull"]);
            response("200 OK", "", json!({"token": token, "expires_in": 300}).to_string())
        });
        TokenServer { server: server.await, certificate: certificate.pem() }
    }
}

fn sign(key: &KeyPair, chain: &str, actions: &[&str]) -> String {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    let head = json!({"typ": "JWT", "alg": "ES256", "x5c": [chain]});
    let claims = json!({
        "iss": "test-issuer", "sub": "me", "aud": "test-registry", "exp": now + 300, "nbf": now - 10, "iat": now,
        "jti": "1", "access": [{"type": "repository", "name": "private", "actions": actions}],
    });
    let encode = |json: serde_json::Value| URL_SAFE_NO_PAD.encode(json.to_string());
    let signed = format!("{}.{}", encode(head), encode(claims));
    let signature = key.sign(signed.as_bytes()).unwrap();
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(plain_signature(&signature)))
}

/// ASN.1's two integers as the 32 bytes each that JSON web tokens have.
fn plain_signature(der: &[u8]) -> Vec<u8> {
    let mut rest = &der[2..];
    let mut plain = Vec::new();
    for _ in 0..2 {
        let length = usize::from(rest[1]);
        let number = &rest[2..2 + length];
        let number = &number[number.len().saturating_sub(32)..];
        plain.extend(std::iter::repeat_n(0, 32 - number.len()));
        plain.extend_from_slice(number);
        rest = &rest[2 + length..];
    }
    plain
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_registry_that_wants_tokens_gets_one_per_repository() {
    let dir = tempfile::tempdir().unwrap();
    let image = docker(&[Tar::default().file("a", "a"), Tar::default().file("b", "b")]);
    DockerRegistry::plain(dir.path()).push(&image, "private", "1").await;
    let tokens = TokenServer::start().await;
    let bundle = write(dir.path(), "bundle.pem", &tokens.certificate);
    let auth = format!(
        "auth:\n  token:\n    realm: http://{}/token\n    service: test-registry\n    issuer: test-issuer\n    \
         rootcertbundle: {}\n",
        tokens.server.address,
        bundle.display()
    );
    let registry = DockerRegistry::start(dir.path(), &auth, "");
    let name = format!("{}/private:1", registry.address);

    let here = Here::new().await;
    here.refuse(&name, &["(401)", "needs a login"]).await;
    let asked = |request: &Request| request.path.starts_with("/token");
    let count = || tokens.server.requests().iter().filter(|request| asked(request)).count();
    let before = count();
    let config = DockerConfig::basic(&registry.address, "me", "secret");
    let pull = Pull { credentials: Some(config), force: true, ..Pull::default() };
    here.images.pull(&parse(&name), pull.clone()).await.unwrap();
    here.images.pull(&parse(&name), pull).await.unwrap();
    assert_eq!(count() - before, 1);

    let here = Here::new().await;
    let config = json!({"auths": {&registry.address: {"identitytoken": "refresh-me"}}});
    let config = DockerConfig::parse(config.to_string().as_bytes()).unwrap();
    let pull = Pull { credentials: Some(config), ..Pull::default() };
    here.images.pull(&parse(&name), pull).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_registry_with_tls_is_spoken_to_if_its_certificate_is_trusted() {
    let dir = tempfile::tempdir().unwrap();
    let image = docker(&[Tar::default().file("a", "a")]);
    DockerRegistry::plain(dir.path()).push(&image, "app", "1").await;
    let key = KeyPair::generate().unwrap();
    let certificate =
        CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap().self_signed(&key).unwrap();
    let certificate = write(dir.path(), "tls.pem", certificate.pem());
    let key = write(dir.path(), "key.pem", key.serialize_pem());
    let tls = format!("  tls:\n    certificate: {}\n    key: {}\n", certificate.display(), key.display());
    let registry = DockerRegistry::start(dir.path(), "", &tls);
    let name = format!("{}/app:1", registry.address);

    let here = Here::new().await;
    here.refuse(&name, &["TLS with 127.0.0.1 failed"]).await;
    let trusting = web_client::Config { extra_roots: vec![certificate], ..web() };
    let here = Here::with(|_| {}, trusting).await;
    here.pull(&name).await.unwrap();
}
