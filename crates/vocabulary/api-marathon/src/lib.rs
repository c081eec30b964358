//! The requests and answers of the Marathon API, with validation and normalisation.
