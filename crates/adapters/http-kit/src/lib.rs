//! HTTP as every service speaks it: listeners, client, RecordIO, streams, proxying.
