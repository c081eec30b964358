use std::path::Path;

use api_pkgpanda::step::{GENERATIONS, Place, Step};

use crate::Error;
use crate::tree::{Opened, Tree};

/// The generation of a root that has had no other, below that root.
pub const FIRST_GENERATION: &str = "generations/1";

/// Carries steps out below a directory that nobody uses yet: without lock and journal, and without waiting for the disk.
/// So roots come to be that are packed or thrown away as a whole, and layers of such. Steps below a generation go to
/// [`FIRST_GENERATION`].
///
/// # Errors
/// A step fails, or is one below a directory of units. What was made is left.
pub fn fill<'s>(root: &Path, steps: impl IntoIterator<Item = &'s Step>) -> Result<(), Error> {
    let top = Opened::open(root)?;
    let mut tree = Tree { root: &top, units: None, generation: None, observer: None };
    for step in steps {
        if step.place() == Place::Generation && tree.generation.is_none() {
            for path in [GENERATIONS, FIRST_GENERATION] {
                tree.apply(&Step::Directory { place: Place::Root, path: path.to_owned() })?;
            }
            tree.generation = Some(Opened::open(&root.join(FIRST_GENERATION))?);
        }
        tree.apply(step)?;
    }
    Ok(())
}
