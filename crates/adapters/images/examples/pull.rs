//! Pulls an image into a directory, with progress, and says how long it took:
//! `cargo run --release -p images --example pull -- REFERENCE DIRECTORY`

use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use images::{Config, Images, Limits, Pull, Reference};
use web_client::WebClient;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [reference, dir] = words.as_slice() else { return Err("give a reference and a directory".into()) };
    let config = Config {
        dir: PathBuf::from(dir),
        quota_bytes: 100 << 30,
        docker_config: None,
        insecure_registries: Vec::new(),
        limits: Limits::default(),
    };
    let images = Images::open(config, WebClient::new(web_client::Config::from_environment())).await?;
    let progress = Arc::new(|now: images::Progress| {
        let mib = |bytes: u64| bytes >> 20;
        let (done, total) = (mib(now.bytes_done), mib(now.bytes_total));
        eprint!(
            "\r{:?}: {done} of {total} MiB, {} of {} layers ",
            now.phase, now.layers_done, now.layers_total
        );
        // Progress that cannot be shown is none.
        let _ = std::io::stderr().flush();
    });
    let started = Instant::now();
    let pull = Pull { progress, ..Pull::default() };
    let image = images.pull(&Reference::parse(reference)?, pull).await?;
    eprintln!();
    println!("{} in {} ms", image.id, started.elapsed().as_millis());
    for layer in &image.layers {
        println!("{}", layer.display());
    }
    Ok(())
}
