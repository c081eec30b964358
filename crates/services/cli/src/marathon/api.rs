//! Marathon's HTTP API as the commands use it.

use base::nearest;
use http_kit::{Method, StatusCode};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;
use serde_json::Value;

use crate::{Answer, Client, Context, Error};

/// Where Marathon is below the cluster's URL.
const MARATHON: &str = "/service/marathon";
/// What is escaped of a path: all that an id cannot have.
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~').remove(b'/');

/// The parameter of `--force`.
pub(super) fn force(force: bool) -> Vec<(&'static str, String)> {
    if force { vec![("force", "true".to_owned())] } else { Vec::new() }
}

/// The id with one slash before it and none behind it. dcos-core-cli: NormalizeAppID.
pub(crate) fn absolute(id: &str) -> String {
    format!("/{}", id.trim_matches('/'))
}

/// The text as (part of) a path.
pub(crate) fn encoded(text: &str) -> String {
    utf8_percent_encode(text, ESCAPED).to_string()
}

/// A client of Marathon. Paths are below its root, as in `/v2/apps`.
#[derive(Debug)]
pub(crate) struct Marathon {
    client: Client,
}

/// The answer to what started a deployment.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Deployed {
    pub(super) deployment_id: String,
}

#[derive(Deserialize)]
struct Apps {
    apps: Vec<Value>,
}

impl Marathon {
    /// A client of the Marathon of the cluster that is meant.
    pub(crate) fn new(context: &Context) -> Result<Marathon, Error> {
        Ok(Marathon { client: context.client()? })
    }

    /// The client of the cluster.
    pub(crate) fn client(&self) -> &Client {
        &self.client
    }

    /// `GET`, whatever the status.
    pub(crate) async fn get(&self, path: &str) -> Result<Answer, Error> {
        self.client.get(&format!("{MARATHON}{path}")).await
    }

    /// `DELETE` with these parameters, whatever the status.
    pub(crate) async fn delete(&self, path: &str, query: &[(&str, String)]) -> Result<Answer, Error> {
        self.send(Method::DELETE, path, query, None).await
    }

    /// A request with parameters and perhaps a body, whatever the status.
    pub(crate) async fn send(
        &self,
        method: Method,
        path: &str,
        query: &[(&str, String)],
        body: Option<&Value>,
    ) -> Result<Answer, Error> {
        let query: Vec<String> =
            query.iter().map(|(name, value)| format!("{name}={}", encoded(value))).collect();
        let mark = if query.is_empty() { "" } else { "?" };
        self.client.request(method, &format!("{MARATHON}{path}{mark}{}", query.join("&")), body).await
    }

    /// A change of what `path` is, and the id of the deployment that makes it.
    pub(super) async fn deploy(
        &self,
        method: Method,
        path: &str,
        query: &[(&str, String)],
        body: Option<&Value>,
    ) -> Result<String, Error> {
        let answer = self.send(method, path, query, body).await?;
        Ok(accepted(answer)?.json::<Deployed>()?.deployment_id)
    }

    /// All apps.
    pub(crate) async fn apps(&self) -> Result<Vec<Value>, Error> {
        Ok(self.get("/v2/apps").await?.json::<Apps>()?.apps)
    }

    /// The app of that id, which may lack its slash, as the API shows it.
    ///
    /// # Errors
    /// When there is none: with what may have been meant.
    pub(crate) async fn app(&self, id: &str) -> Result<Value, Error> {
        let id = absolute(id);
        let answer = self.get(&format!("/v2/apps{}", encoded(&id))).await?;
        if answer.status == StatusCode::NOT_FOUND {
            return Err(self.no_app(&id).await);
        }
        let mut answer: Value = answer.json()?;
        Ok(answer["app"].take())
    }

    /// That there is no app of that id, and what may have been meant.
    pub(crate) async fn no_app(&self, id: &str) -> Error {
        let apps = self.apps().await.unwrap_or_default();
        let ids: Vec<&str> = apps.iter().filter_map(|app| app["id"].as_str()).collect();
        let what = format!("App '{id}' does not exist");
        match nearest(id, ids.iter().copied()).or_else(|| last_segment(id, &ids)) {
            Some(meant) => Error::status(404, format!("{what}. Did you mean '{meant}'?")),
            None if ids.is_empty() => Error::status(404, what)
                .hint("There are no apps yet; `dcos marathon app add <file>` adds one."),
            None => Error::status(404, what).hint("`dcos marathon app list` shows those that do."),
        }
    }

    /// What is queued to be launched.
    pub(super) async fn queue(&self, offers: bool) -> Result<Vec<Value>, Error> {
        #[derive(Deserialize)]
        struct Queue {
            queue: Vec<Value>,
        }
        let path = if offers { "/v2/queue?embed=lastUnusedOffers" } else { "/v2/queue" };
        Ok(self.get(path).await?.json::<Queue>()?.queue)
    }

    /// The running deployments.
    pub(super) async fn deployments(&self) -> Result<Vec<Value>, Error> {
        self.get("/v2/deployments").await?.json()
    }
}

/// The only id that ends in the segment which was given alone.
fn last_segment<'a>(given: &str, ids: &[&'a str]) -> Option<&'a str> {
    let mut found = ids.iter().filter(|id| id.ends_with(given));
    found.next().filter(|_| found.next().is_none()).copied()
}

/// The answer, unless a deployment stands in the way. Text: dcos-core-cli, appStop.
pub(super) fn accepted(answer: Answer) -> Result<Answer, Error> {
    if answer.status != StatusCode::CONFLICT {
        return answer.ok();
    }
    let body: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
    let Some(deployment) = body["deployments"][0]["id"].as_str() else { return answer.ok() };
    Err(Error::status(409, "changes blocked: deployment already in progress for app").hint(format!(
        "Wait for it with `dcos marathon deployment watch {deployment}`, or override it with --force."
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_become_paths() {
        let check = |id: &str, path: &str| assert_eq!(encoded(&absolute(id)), path);
        check("hello", "/hello");
        check("/shop/cart/", "/shop/cart");
        check("/a b?c", "/a%20b%3Fc");
    }

    #[test]
    fn an_id_may_be_known_by_its_end() {
        assert_eq!(last_segment("/cart", &["/shop/cart", "/shop/web"]), Some("/shop/cart"));
        assert_eq!(last_segment("/cart", &["/shop/cart", "/test/cart"]), None);
    }
}
