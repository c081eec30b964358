//! What packages are made from: where it comes from, what identifies it, and how it gets into a build.
