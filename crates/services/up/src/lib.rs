//! One command brings up a datacenter on one machine.
