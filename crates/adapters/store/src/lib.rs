//! Durable small records behind one trait, with the contract of the weakest backend.
