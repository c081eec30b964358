//! HTTP and HTTPS to servers outside the cluster: names, TLS, redirects, credentials, stalls.
