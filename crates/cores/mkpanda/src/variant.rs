use std::cmp::Ordering;
use std::fmt;

use api_pkgpanda::PackageName;

/// Which build of a package, or which tree: the default one, or one with a name.
///
/// Ordered by name, the default one last, which is the order in which variants are built.
#[derive(Clone, Debug, Default, Eq, Hash, PartialEq)]
pub struct Variant(Option<String>);

/// A file name that ends like those of variants and names none.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error(
    "{file:?}: the default variant's file is {base:?}, that of another one is VARIANT.{base}, VARIANT being letters, digits and @._+- (the first one no `.` and no `-`)"
)]
pub struct VariantFileError {
    /// The file's name.
    pub file: String,
    /// What it ends with.
    pub base: String,
}

impl Variant {
    /// The default variant.
    pub const DEFAULT: Variant = Variant(None);

    /// The variant `name`; the empty name is the default variant's.
    ///
    /// # Errors
    /// The name breaks the rules of package names: it is part of file names.
    pub fn named(name: &str) -> Result<Variant, api_pkgpanda::IdProblem> {
        if name.is_empty() {
            return Ok(Variant::DEFAULT);
        }
        name.parse::<PackageName>()?;
        Ok(Variant(Some(name.to_owned())))
    }

    /// The variant that a file is for, if it is called `[VARIANT.]base`; `None` for a file of another kind.
    ///
    /// # Errors
    /// A name that ends with `base`, but with no variant and a dot before it.
    pub fn of_file(file: &str, base: &str) -> Option<Result<Variant, VariantFileError>> {
        let prefix = file.strip_suffix(base)?;
        let wrong = || VariantFileError { file: file.to_owned(), base: base.to_owned() };
        Some(match prefix.strip_suffix('.') {
            None if prefix.is_empty() => Ok(Variant::DEFAULT),
            Some(name) if !name.is_empty() => Variant::named(name).map_err(|_| wrong()),
            _ => Err(wrong()),
        })
    }

    /// The name of this variant's file: `[VARIANT.]base`.
    #[must_use]
    pub fn file(&self, base: &str) -> String {
        match &self.0 {
            Some(name) => format!("{name}.{base}"),
            None => base.to_owned(),
        }
    }

    /// The name, `None` for the default variant.
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        self.0.as_deref()
    }

    /// The name as builds see it and hashes contain it: empty for the default variant.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.0.as_deref().unwrap_or("")
    }
}

impl fmt::Display for Variant {
    /// `<default>` for the default variant.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.0.as_deref().unwrap_or("<default>"))
    }
}

impl Ord for Variant {
    fn cmp(&self, other: &Self) -> Ordering {
        (self.0.is_none(), &self.0).cmp(&(other.0.is_none(), &other.0))
    }
}

impl PartialOrd for Variant {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// What is built: a package in one of its variants. Ordered by name, then as [`Variant`] is.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct PackageKey {
    /// The package's name.
    pub name: PackageName,
    /// The variant.
    pub variant: Variant,
}

impl fmt::Display for PackageKey {
    /// The name, with the variant's after it unless it is the default one: `mesos (ssl)`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.variant.name() {
            Some(variant) => write!(f, "{} ({variant})", self.name),
            None => write!(f, "{}", self.name),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_variants() {
        let check = |file: &str, expected: Option<Result<&str, ()>>| {
            let found = Variant::of_file(file, "buildinfo.json");
            if let Some(Ok(variant)) = &found {
                assert_eq!(variant.file("buildinfo.json"), file);
            }
            let found = found.map(|variant| variant.map(|variant| variant.as_str().to_owned()).map_err(drop));
            assert_eq!(found, expected.map(|variant| variant.map(str::to_owned)), "{file}");
        };
        check("buildinfo.json", Some(Ok("")));
        check("installer.buildinfo.json", Some(Ok("installer")));
        check("a.b.buildinfo.json", Some(Ok("a.b")));
        check(".buildinfo.json", Some(Err(())));
        check("xbuildinfo.json", Some(Err(())));
        check("..buildinfo.json", Some(Err(())));
        check("a b.buildinfo.json", Some(Err(())));
        check("buildinfo.json.orig", None);
        check("build", None);
    }

    #[test]
    fn the_default_variant_is_last() {
        let mut variants = ["", "b", "a"].map(|name| Variant::named(name).unwrap());
        variants.sort();
        assert_eq!(variants.map(|variant| variant.to_string()), ["a", "b", "<default>"]);
    }
}
