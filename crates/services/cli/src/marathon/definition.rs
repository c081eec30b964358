//! Definitions as they are given on the command line: a file, a URL, standard input, `key=value`.

use std::io::{ErrorKind, IsTerminal, Read};

use serde_json::{Map, Value};
use web_client::{Call, Config, Url, WebClient};

use crate::Error;

/// The largest definition that is read, in bytes.
const LIMIT: u64 = 16 << 20;

/// The definition that `resource` names: a file, an `http` or `https` URL, or `-` or nothing for
/// standard input. `example` is what a user at a terminal should have typed.
pub(super) async fn read(resource: Option<&str>, example: &str) -> Result<Value, Error> {
    let text = match resource {
        None | Some("-") => stdin(example)?,
        Some(url) if url.starts_with("http://") || url.starts_with("https://") => download(url).await?,
        Some(path) => file(path)?,
    };
    serde_json::from_slice(&text).map_err(|error| Error::new(format!("error loading JSON: {error}")))
}

/// The object of `key=value` items, or of standard input if there are none.
pub(super) async fn properties(items: &[String], example: &str) -> Result<Value, Error> {
    if items.is_empty() {
        return read(None, example).await;
    }
    let mut object = Map::new();
    for item in items {
        let not_one = || {
            Error::new(format!("'{item}' is not a valid json-item"))
                .hint("Allowed is key=value, as in cpus=0.5 or 'env={\"A\": \"b\"}'.")
        };
        let (key, value) = item.split_once('=').ok_or_else(not_one)?;
        let key = unquoted(key);
        if object.insert(key.to_owned(), self::value(value)).is_some() {
            return Err(Error::new(format!("Key '{key}' was specified more than once")));
        }
    }
    Ok(Value::Object(object))
}

/// The value of a text: a number, boolean, `null`, array or object if it reads as one, else the text.
/// dcos: jsonitem._find_type.
fn value(text: &str) -> Value {
    let text = unquoted(text);
    if let Ok(number) = text.parse::<i64>() {
        return number.into();
    }
    let number = text.parse::<f64>().ok().filter(|number| number.is_finite());
    if let Some(number) = number.and_then(serde_json::Number::from_f64) {
        return Value::Number(number);
    }
    match text.to_ascii_lowercase().as_str() {
        "true" => return Value::Bool(true),
        "false" => return Value::Bool(false),
        _ => {}
    }
    serde_json::from_str(text).unwrap_or_else(|_| Value::String(text.to_owned()))
}

/// The text without the quotes around it.
fn unquoted(text: &str) -> &str {
    let within = |quote: char| text.strip_prefix(quote)?.strip_suffix(quote);
    within('"').or_else(|| within('\'')).unwrap_or(text)
}

fn stdin(example: &str) -> Result<Vec<u8>, Error> {
    let stdin = std::io::stdin();
    if stdin.is_terminal() {
        return Err(Error::new("no definition is given").hint(format!("E.g. {example}")));
    }
    limited(stdin.lock(), "standard input")
}

/// dcos-core-cli: marathonAppAdd.
fn file(path: &str) -> Result<Vec<u8>, Error> {
    match std::fs::File::open(path) {
        Ok(file) => limited(file, path),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            Err(Error::new(format!("can't read from resource: {path}. Please check that it exists")))
        }
        Err(error) => Err(Error::new(format!("can't read from resource: {path}: {error}"))),
    }
}

fn limited(from: impl Read, name: &str) -> Result<Vec<u8>, Error> {
    let mut text = Vec::new();
    let read = from.take(LIMIT + 1).read_to_end(&mut text);
    read.map_err(|error| Error::new(format!("can't read from resource: {name}: {error}")))?;
    match text.len() as u64 > LIMIT {
        true => Err(Error::new(format!("can't read from resource: {name}: it is longer than {LIMIT} bytes"))),
        false => Ok(text),
    }
}

async fn download(url: &str) -> Result<Vec<u8>, Error> {
    let failed = |why: String| Error::new(format!("can't read from resource: {why}"));
    let parsed: Url = url.parse().map_err(|error| failed(format!("{error}")))?;
    let client = WebClient::new(Config::from_environment());
    let answer = client.send(Call::get(parsed)).await.map_err(|error| failed(error.to_string()))?;
    if !answer.status.is_success() {
        return Err(failed(format!("{url} was answered with {}", answer.status)));
    }
    answer.body.read(LIMIT as usize).await.map_err(|error| failed(error.to_string()))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn values_are_what_they_read_as() {
        let check = |text: &str, expected: Value| assert_eq!(value(text), expected, "{text}");
        check("2", json!(2));
        check("\"2\"", json!(2));
        check("+3", json!(3));
        check("0.5", json!(0.5));
        check("1e3", json!(1000.0));
        check("True", json!(true));
        check("null", Value::Null);
        check("[1, 2]", json!([1, 2]));
        check("{\"A\": \"b\"}", json!({"A": "b"}));
        check("sleep 100", json!("sleep 100"));
        check("'a b'", json!("a b"));
        check("inf", json!("inf"));
        check("", json!(""));
        check("http://x/?a=b", json!("http://x/?a=b"));
        check("'\"2\"'", json!("2"));
    }

    #[tokio::test]
    async fn properties_are_an_object() {
        let object = async |items: &[&str]| {
            let items: Vec<String> = items.iter().map(|item| (*item).to_owned()).collect();
            properties(&items, "").await.map_err(|error| error.to_string())
        };
        assert_eq!(object(&["cpus=1", "cmd=a=b"]).await, Ok(json!({"cpus": 1, "cmd": "a=b"})));
        let twice = object(&["cpus=1", "cpus=2"]).await;
        assert_eq!(twice.unwrap_err(), "Key 'cpus' was specified more than once");
        let none = object(&["cpus"]).await.unwrap_err();
        assert!(none.starts_with("'cpus' is not a valid json-item\n"), "{none}");
    }
}
