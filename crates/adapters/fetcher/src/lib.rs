//! URIs into sandboxes, through a cache.
