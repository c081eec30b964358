//! git repositories by the program git.
