//! What building packages means, as data: buildinfo, trees, ids, order.
