use http_kit::{Bytes, HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};

use crate::download::Download;
use crate::url::Url;

/// A request to a server outside.
#[derive(Clone, Debug)]
pub struct Call {
    /// What to do.
    pub method: Method,
    /// Whom and what to ask. Its credentials go out as `Authorization`, unless `headers` has one.
    pub url: Url,
    /// Beside `Host`, `User-Agent` and `Content-Length`, which are added. `Authorization` and `Cookie` are not sent
    /// to where a redirect to another origin leads.
    pub headers: HeaderMap,
    /// Sent again where a redirect demands it.
    pub body: Bytes,
}

impl Call {
    /// `GET url`.
    pub fn get(url: Url) -> Call {
        Call { method: Method::GET, url, headers: HeaderMap::new(), body: Bytes::new() }
    }

    /// The call with this header, instead of any other value of it.
    pub fn with_header(mut self, name: HeaderName, value: HeaderValue) -> Call {
        self.headers.insert(name, value);
        self
    }

    /// The call for what comes after the first `offset` bytes.
    pub fn from_byte(self, offset: u64) -> Call {
        let range = HeaderValue::from_str(&format!("bytes={offset}-")).expect("a number is writable");
        self.with_header(header::RANGE, range)
    }
}

/// What a server answered, of whatever status.
#[derive(Debug)]
pub struct Answer {
    /// The status.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    /// Who answered, after redirects.
    pub url: Url,
    /// The rest.
    pub body: Download,
}

impl Answer {
    /// A header's text, if it is there and text.
    pub fn header(&self, name: HeaderName) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// The first byte and the length of the whole that a partial answer names (`Content-Range`).
    pub fn content_range(&self) -> Option<(u64, Option<u64>)> {
        let (range, whole) = self.header(header::CONTENT_RANGE)?.strip_prefix("bytes ")?.split_once('/')?;
        let first = range.split_once('-')?.0.trim().parse().ok()?;
        Some((first, whole.trim().parse().ok()))
    }
}
