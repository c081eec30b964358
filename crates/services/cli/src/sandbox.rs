//! The files of a sandbox, asked of the agent that has it.

use http_kit::{Body, HeaderValue, Method, Request, StatusCode, header};
use mesos_proto::binary;
use mesos_proto::v1::FileInfo;
use mesos_proto::v1::agent::{Call, Response, call};

use crate::marathon::encoded;
use crate::{Client, Error};

/// What is asked for at once, and the most that an agent gives.
pub(crate) const PIECE: u64 = 64 << 10;
/// The largest answer with a listing.
const LISTING: usize = 64 << 20;

/// A file's size in bytes, and a piece of it.
#[derive(Debug)]
pub(crate) struct Piece {
    pub(crate) size: u64,
    pub(crate) data: Vec<u8>,
}

/// An agent's API.
pub(crate) fn api(agent: &str) -> String {
    format!("/agent/{}/api/v1", encoded(agent))
}

/// At most [`PIECE`] bytes of a file from `offset` on. None if there is no such file.
pub(crate) async fn read(
    client: &Client,
    agent: &str,
    path: &str,
    offset: u64,
    length: u64,
) -> Result<Option<Piece>, Error> {
    let read = call::ReadFile { path: path.to_owned(), offset, length: Some(length) };
    let call = Call { r#type: Some(call::Type::ReadFile as i32), read_file: Some(read), ..Call::default() };
    let answer = ask(client, agent, &call).await?;
    let read = answer.and_then(|answer| answer.read_file);
    Ok(read.map(|read| Piece { size: read.size, data: read.data }))
}

/// What is in a directory, in the order of the names. None if there is no such directory.
pub(crate) async fn list(client: &Client, agent: &str, path: &str) -> Result<Option<Vec<FileInfo>>, Error> {
    let list = call::ListFiles { path: path.to_owned() };
    let call = Call { r#type: Some(call::Type::ListFiles as i32), list_files: Some(list), ..Call::default() };
    let mut files = match ask(client, agent, &call).await?.and_then(|answer| answer.list_files) {
        Some(listed) => listed.file_infos,
        None => return Ok(None),
    };
    files.sort_by(|one, other| one.path.cmp(&other.path));
    Ok(Some(files))
}

async fn ask(client: &Client, agent: &str, call: &Call) -> Result<Option<Response>, Error> {
    let answer = client.exchange(protobuf(&api(agent), Body::full(binary::encode(call)))?, LISTING).await?;
    if answer.status == StatusCode::NOT_FOUND {
        // An agent's own 404 says nothing; Admin Router's names the agent that there is none of.
        return match answer.body.is_empty() {
            true => Ok(None),
            false => Err(answer.refusal()),
        };
    }
    let asked = answer.asked.clone();
    let answer = answer.ok()?;
    binary::decode_checked(&answer.body)
        .map(Some)
        .map_err(|error| Error::new(format!("the answer to {asked} is not what was expected: {error}")))
}

/// A call of the v1 API.
pub(crate) fn protobuf(path: &str, body: Body) -> Result<Request, Error> {
    const PROTOBUF: HeaderValue = HeaderValue::from_static("application/x-protobuf");
    let mut request = Request::new(body);
    *request.method_mut() = Method::POST;
    *request.uri_mut() =
        path.parse().map_err(|_| Error::new(format!("'{path}' cannot be part of an address")))?;
    request.headers_mut().insert(header::CONTENT_TYPE, PROTOBUF);
    request.headers_mut().insert(header::ACCEPT, PROTOBUF);
    Ok(request)
}

/// The last part of a path.
pub(crate) fn name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}
