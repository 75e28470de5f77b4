//! A successful answer.

use bytes::Bytes;

/// A 2xx answer whose body was read to its end.
pub struct Response {
    /// HTTP status.
    pub status: u16,
    /// The body, decompressed.
    pub bytes: Bytes,
    /// The server's clock (`Date`), epoch seconds.
    pub server_date: Option<i64>,
}

/// A 2xx answer whose body was read as JSON.
pub struct Reply<T> {
    /// What the body said.
    pub value: T,
    /// HTTP status.
    pub status: u16,
    /// The server's clock (`Date`), epoch seconds.
    pub server_date: Option<i64>,
}
