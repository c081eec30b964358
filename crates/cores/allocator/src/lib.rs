//! Who is offered what: hierarchical dominant resource fairness with filters.
