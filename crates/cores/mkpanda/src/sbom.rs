//! Bills of materials: what is in a package or a bootstrap, and what it was made from, as SPDX 2.3 JSON.
//!
//! Licences and copyrights are not looked for: everything says NOASSERTION.

mod document;

use api_pkgpanda::PackageId;
use serde_json::{Value, json};

use self::document::{Document, SpdxId};
use crate::identity::Inputs;
use crate::source::{Download, Source, SourceId};
use crate::variant::Variant;

/// The most files that a bill lists: some ten megabytes. Of a package with more it lists none, and says so.
const MAX_FILES: usize = 50_000;

/// A file of a package.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct FileSum {
    /// Its path in the package, without `./` before it.
    pub path: String,
    /// Its SHA-1 in hexadecimal digits: SPDX demands it.
    pub sha1: String,
    /// Its SHA-256.
    pub sha256: String,
}

/// A package of Debian that a build image is made of.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct DebianPackage {
    /// Its name.
    pub package: String,
    /// Its version.
    pub version: String,
    /// Its architecture; `all` if it has none.
    pub architecture: String,
    /// The SHA-256 of its `.deb`, if known.
    pub sha256: Option<String>,
}

/// What the bill of one package is written from.
#[derive(Clone, Copy, Debug)]
pub struct PackageBill<'a> {
    /// The package.
    pub id: &'a PackageId,
    /// What it was made from.
    pub inputs: Inputs<'a>,
    /// Its files; none of them if they are not known.
    pub files: &'a [FileSum],
    /// Files of the package that are not among `files`, as they tell of these: the bill itself, for one.
    pub left_out: &'a [&'a str],
    /// What its build image is made of.
    pub tools: &'a [DebianPackage],
    /// When, in seconds since the epoch: that of the inputs, not of the clock, or no two bills are equal.
    pub created: u64,
}

/// A package of a bootstrap.
#[derive(Clone, Copy, Debug)]
pub struct Component<'a> {
    /// The package.
    pub id: &'a PackageId,
    /// What it was made from.
    pub inputs: Inputs<'a>,
    /// The SHA-256 of its tarball, if known.
    pub sha256: Option<&'a str>,
}

/// The text of a package's bill: the package with its files (unless there are more than 50,000), its sources, the
/// packages it requires, and the build image's packages.
#[must_use]
pub fn package_sbom(bill: &PackageBill<'_>) -> String {
    let mut document = Document::new(bill.id.as_str(), bill.created);
    let mut package = described(bill.id, &bill.inputs);
    let is_listed = !bill.files.is_empty() && bill.files.len() <= MAX_FILES;
    if is_listed {
        let left_out: Vec<String> = bill.left_out.iter().map(|path| format!("./{path}")).collect();
        package["filesAnalyzed"] = true.into();
        package["packageVerificationCode"] = json!({
            "packageVerificationCodeExcludedFiles": left_out,
            "packageVerificationCodeValue": verification_code(bill.files),
        });
    } else if !bill.files.is_empty() {
        let many = format!("its {} files are too many to be listed here", bill.files.len());
        let comment = package["comment"].as_str().map(|comment| format!("{comment}; {many}"));
        package["comment"] = comment.unwrap_or(many).into();
    }
    let id = document.package("Package", bill.id.as_str(), package);
    document.describes(&id);
    add_sources(&mut document, &id, &bill.inputs);
    for required in bill.inputs.requires {
        let name = required.as_str();
        let package = json!({"name": required.name(), "versionInfo": required.version()});
        let required = document.package("Package", name, package);
        document.relate(&id, "DEPENDS_ON", &required);
    }
    let mut tools: Vec<&DebianPackage> = bill.tools.iter().collect();
    tools.sort();
    for tool in tools {
        let sha256 = tool.sha256.as_deref();
        let package = debian(&tool.package, &tool.version, Some(&tool.architecture), sha256);
        let tool = document.package("BuildTool", &format!("{}-{}", tool.package, tool.architecture), package);
        document.relate(&tool, "BUILD_TOOL_OF", &id);
    }
    let mut files: Vec<&FileSum> = bill.files.iter().filter(|_| is_listed).collect();
    files.sort_by(|a, b| a.path.cmp(&b.path));
    for file in files {
        document.file(&id, file);
    }
    document.text()
}

/// The text of a bootstrap's bill: the bootstrap, its packages with what each requires, and their sources.
///
/// `created` as in [`PackageBill`].
#[must_use]
pub fn bootstrap_sbom(
    bootstrap: &str,
    variant: &Variant,
    packages: &[Component<'_>],
    created: u64,
) -> String {
    let mut packages: Vec<&Component<'_>> = packages.iter().collect();
    packages.sort_by_key(|package| package.id);
    let name = format!("{bootstrap}.bootstrap");
    let mut document = Document::new(&name, created);
    let mut whole =
        json!({"name": "bootstrap", "versionInfo": bootstrap, "primaryPackagePurpose": "INSTALL"});
    if let Some(variant) = variant.name() {
        whole["comment"] = format!("variant: {variant}").into();
    }
    let whole = document.package("Bootstrap", bootstrap, whole);
    document.describes(&whole);
    let mut ids: Vec<(&Component<'_>, SpdxId)> = Vec::new();
    for component in packages {
        let mut package = described(component.id, &component.inputs);
        if let Some(sha256) = component.sha256 {
            package["checksums"] = json!([{"algorithm": "SHA256", "checksumValue": sha256}]);
        }
        let id = document.package("Package", component.id.as_str(), package);
        document.relate(&whole, "CONTAINS", &id);
        ids.push((component, id));
    }
    for (component, id) in &ids {
        add_sources(&mut document, id, &component.inputs);
        for required in &component.inputs.buildinfo.requires {
            // What is required is in the bootstrap, in one version.
            let found = ids.iter().find(|(other, _)| other.id.name() == required.name.as_str());
            if let Some((_, required)) = found {
                document.relate(id, "DEPENDS_ON", required);
            }
        }
    }
    document.text()
}

/// A package of ours.
fn described(id: &PackageId, inputs: &Inputs<'_>) -> Value {
    let mut info = format!("build script sha1:{}; build image {}", inputs.build, inputs.docker);
    if let Some(extra) = inputs.extra_source {
        info.push_str(&format!(
            "; folder extra {extra} (canonical hash of pkgpanda {})",
            crate::PKGPANDA_VERSION
        ));
    }
    let mut package = json!({
        "name": id.name(),
        "versionInfo": id.version(),
        "packageFileName": format!("{id}.tar.xz"),
        "primaryPackagePurpose": "APPLICATION",
        "sourceInfo": info,
    });
    if let Some(variant) = inputs.key.variant.name() {
        package["comment"] = format!("variant: {variant}").into();
    }
    package
}

fn add_sources(document: &mut Document, of: &SpdxId, inputs: &Inputs<'_>) {
    for (name, source) in &inputs.buildinfo.sources {
        let package = source_package(name, source, inputs.source_ids.get(name));
        let id = document.package("Source", &format!("{}-{name}", inputs.key.name), package);
        document.relate(of, "GENERATED_FROM", &id);
    }
}

fn source_package(name: &str, source: &Source, id: Option<&SourceId>) -> Value {
    let id = id.cloned().or_else(|| source.declared_id());
    let value = id.as_ref().map_or("", |id| id.entry().1);
    let mut package = match source {
        Source::Git { git, commit, ref_origin } => {
            let location = git_location(git, commit);
            let mut package = json!({
                "versionInfo": commit,
                "sourceInfo": format!("git commit of {git}, taken from {ref_origin}"),
            });
            if let Some(location) = location {
                let vcs = format!("pkg:generic/{}@{commit}?vcs_url={}", escaped(name), escaped(&location));
                package["externalRefs"] = purl(&vcs);
                package["downloadLocation"] = location.into();
            }
            package
        }
        Source::GitLocal { rel_path } => json!({
            "versionInfo": value,
            "sourceInfo": format!("commit of the git repository at {rel_path}"),
        }),
        Source::Local { rel_path } => json!({
            "versionInfo": value,
            "sourceInfo": format!("folder {rel_path}, by the canonical hash of pkgpanda {}", crate::PKGPANDA_VERSION),
        }),
        Source::Url(Download { url, sha1 }) | Source::UrlExtract(Download { url, sha1 }) => {
            let mut package = json!({"checksums": [{"algorithm": "SHA1", "checksumValue": sha1}]});
            if !url.starts_with("file:") {
                package["downloadLocation"] = url.as_str().into();
            }
            package
        }
        Source::Debian { package, version, sha256 } => {
            return with(debian(package, version, None, Some(sha256)), "primaryPackagePurpose", "SOURCE");
        }
    };
    package["name"] = name.into();
    with(package, "primaryPackagePurpose", "SOURCE")
}

fn with(mut value: Value, key: &str, text: &str) -> Value {
    value[key] = text.into();
    value
}

fn debian(name: &str, version: &str, architecture: Option<&str>, sha256: Option<&str>) -> Value {
    let mut locator = format!("pkg:deb/debian/{}@{}", escaped(name), escaped(version));
    if let Some(architecture) = architecture {
        locator.push_str(&format!("?arch={}", escaped(architecture)));
    }
    let mut package = json!({
        "name": name,
        "versionInfo": version,
        "supplier": "Organization: Debian",
        "externalRefs": purl(&locator),
    });
    if let Some(sha256) = sha256 {
        package["checksums"] = json!([{"algorithm": "SHA256", "checksumValue": sha256}]);
    }
    package
}

fn purl(locator: &str) -> Value {
    json!([{
        "referenceCategory": "PACKAGE-MANAGER",
        "referenceLocator": locator,
        "referenceType": "purl",
    }])
}

/// Where a commit is, if the repository's URL is of a kind that SPDX knows.
fn git_location(git: &str, commit: &str) -> Option<String> {
    let is_url = ["https://", "http://", "ssh://", "git://"].iter().any(|scheme| git.starts_with(scheme));
    let is_plain = git.bytes().all(|c| c.is_ascii_graphic()) && !git.contains(['#', '"', '<', '>', '\\']);
    let prefix = if git.starts_with("git://") { "" } else { "git+" };
    (is_url && is_plain).then(|| format!("{prefix}{git}@{commit}"))
}

/// Percent-encoded as purls have it: all but unreserved characters and `:`.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~:".contains(&byte) {
            escaped.push(char::from(byte));
        } else {
            escaped.push_str(&format!("%{byte:02X}"));
        }
    }
    escaped
}

/// SPDX 2.3, 7.9: the SHA-1 of all files' SHA-1, sorted and joined.
fn verification_code(files: &[FileSum]) -> String {
    let mut sums: Vec<&str> = files.iter().map(|file| file.sha1.as_str()).collect();
    sums.sort_unstable();
    api_pkgpanda::hash::text(&sums.concat())
}

#[cfg(test)]
mod tests;
