//! What activating a set of packages means, as data: checks, plans, journals.
