//! Images of registries and tarballs.

use std::path::{Path, PathBuf};

use base::ContainerId;
use images::{Config, Images, Limits, Pull, Reference};
use web_client::WebClient;

use super::Image;
use super::debian::{IMAGES, of};
use super::definition::digest;
use super::error::ImageProblem;
use super::record::{self, Record};
use crate::sources::wait_for;

/// Where the layers are, below the folder of images.
const FETCHED: &str = "fetched";
/// The most that images take that nothing refers to any more.
const QUOTA: u64 = 40 << 30;

/// The image that the reference names. Once it is here it stays what it is, even if its tag moves on.
pub(super) fn get(docker: &str, cache: &Path, say: &dyn Fn(&str)) -> Result<Image, ImageProblem> {
    let reference = Reference::parse(docker).map_err(ImageProblem::Reference)?;
    let (images, key) = (cache.join(IMAGES), digest(&format!("reference {docker}")));
    if let Some(image) = record::find(&images, &key).and_then(|record| of(&record, &images)) {
        return Ok(image);
    }
    say(&format!("{docker}: fetching the image"));
    let fetched = images.join(FETCHED);
    std::fs::create_dir_all(&fetched).map_err(ImageProblem::file("make the directory", &fetched))?;
    let image = wait_for(pull(fetched, reference, &key))?;
    let below = |layer: &PathBuf| layer.strip_prefix(&images).unwrap_or(layer).to_owned();
    let variables = image.config.env.iter().filter_map(|variable| variable.split_once('='));
    let record = Record {
        name: docker.to_owned(),
        id: image.id.to_string(),
        layers: image.layers.iter().map(below).collect(),
        environment: variables.map(|(name, value)| (name.to_owned(), value.to_owned())).collect(),
        debian: Vec::new(),
    };
    record::write(&images, &key, &record)?;
    let missing = || std::io::Error::other("it has no layers");
    of(&record, &images).ok_or_else(|| ImageProblem::file("find", &images)(missing()))
}

async fn pull(dir: PathBuf, reference: Reference, key: &str) -> Result<images::Image, ImageProblem> {
    let config = Config {
        dir,
        quota_bytes: QUOTA,
        docker_config: None,
        insecure_registries: Vec::new(),
        limits: Limits::default(),
    };
    let web = WebClient::new(web_client::Config::from_environment());
    let store = Images::open(config, web).await.map_err(ImageProblem::Store)?;
    let image = store.pull(&reference, Pull::default()).await.map_err(ImageProblem::Pull)?;
    // So that nothing collects its layers when other images are fetched.
    let holder = ContainerId::from(format!("reference-{key}"));
    store.hold(&image, &holder).await.map_err(ImageProblem::Hold)?;
    Ok(image)
}
