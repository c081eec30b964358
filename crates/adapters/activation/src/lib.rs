//! A tree of links that changes from one whole state to another: steps, journal, recovery, lock.
