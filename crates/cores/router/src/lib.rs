//! The routing table of Admin Router and the decisions taken on a request.
