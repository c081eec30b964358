use serde::Serialize;

use crate::info::Identifiable;

/// A refusal: the status and the JSON body that Marathon answers with.
#[derive(Clone, Debug, PartialEq)]
pub struct ApiError {
    /// HTTP status code.
    pub status: u16,
    /// The body.
    pub body: ErrorBody,
}

/// What is said about a refusal.
///
/// Marathon: RAML type `Error`, with what its exception mapper adds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ErrorBody {
    /// In one sentence.
    pub message: String,
    /// Field by field.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub details: Option<Details>,
    /// The deployments that are in the way.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deployments: Option<Vec<Identifiable>>,
}

/// Problems field by field, or what a parser said.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Details {
    /// Problems by field.
    Fields(Vec<Detail>),
    /// A parser's words.
    Text(String),
}

/// The problems of one field.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Detail {
    /// Where, such as `/healthChecks(0)/protocol`; `/` for the object itself.
    pub path: String,
    /// What is wrong there, in Marathon's words.
    pub errors: Vec<String>,
    /// What was found and what is allowed, where Marathon's words do not say it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub explanation: Option<String>,
}

impl Detail {
    /// One problem.
    pub fn new(path: impl Into<String>, error: impl Into<String>) -> Detail {
        Detail { path: path.into(), errors: vec![error.into()], explanation: None }
    }
}

impl ApiError {
    /// Any refusal that is only a message.
    pub fn message(status: u16, message: impl Into<String>) -> ApiError {
        ApiError { status, body: ErrorBody { message: message.into(), details: None, deployments: None } }
    }

    /// 422: the JSON has the wrong shape.
    ///
    /// Marathon: `RestResource.entity` of a `JsResultException`.
    pub fn invalid_json(details: Vec<Detail>) -> ApiError {
        ApiError::detailed(422, "Invalid JSON", Details::Fields(details))
    }

    /// 422: the shape is right and the content is not.
    ///
    /// Marathon: `ValidationFailedException`.
    pub fn invalid_object(details: Vec<Detail>) -> ApiError {
        ApiError::detailed(422, "Object is not valid", Details::Fields(details))
    }

    /// 400: the body is no JSON. `reason` is the parser's.
    ///
    /// Marathon: `JsonParseException` and, for an empty body, `JsonMappingException`.
    pub fn no_json(body: &[u8], reason: impl Into<String>) -> ApiError {
        if body.iter().all(u8::is_ascii_whitespace) {
            let details = Details::Text("No content to map due to end-of-input".to_owned());
            return ApiError::detailed(400, "Please specify data in JSON format", details);
        }
        ApiError::detailed(400, "Invalid JSON", Details::Text(reason.into()))
    }

    fn detailed(status: u16, message: &str, details: Details) -> ApiError {
        let mut error = ApiError::message(status, message);
        error.body.details = Some(details);
        error
    }

    /// 404 for an app that is not there.
    pub fn unknown_app(id: impl std::fmt::Display) -> ApiError {
        ApiError::message(404, format!("App '{id}' does not exist"))
    }

    /// 404 for a group that is not there.
    pub fn unknown_group(id: impl std::fmt::Display) -> ApiError {
        ApiError::message(404, format!("Group '{id}' does not exist"))
    }

    /// 404 for a version that an app never had.
    pub fn unknown_version(id: impl std::fmt::Display, version: impl std::fmt::Display) -> ApiError {
        ApiError::message(404, format!("App '{id}' does not exist in version {version}"))
    }

    /// 404 for a task that is not there.
    pub fn unknown_task(id: impl std::fmt::Display) -> ApiError {
        ApiError::message(404, format!("Task '{id}' does not exist"))
    }

    /// 404 for a deployment that does not run.
    pub fn unknown_deployment(id: impl std::fmt::Display) -> ApiError {
        ApiError::message(404, format!("DeploymentPlan {id} does not exist"))
    }

    /// 409 for a second app of the same id.
    pub fn app_exists(id: impl std::fmt::Display) -> ApiError {
        ApiError::message(409, format!("An app with id [{id}] already exists."))
    }

    /// 409 for a change of apps that the deployments of these ids are changing.
    ///
    /// Marathon: `AppLockedException`.
    pub fn app_locked<'a>(deployments: impl IntoIterator<Item = &'a str>) -> ApiError {
        let message = "App is locked by one or more deployments. Override with the option '?force=true'. \
                       View details at '/v2/deployments/<DEPLOYMENT_ID>'.";
        let mut error = ApiError::message(409, message);
        error.body.deployments =
            Some(deployments.into_iter().map(|id| Identifiable { id: id.to_owned() }).collect());
        error
    }
}

impl std::fmt::Display for ApiError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.status, serde_json::to_string(&self.body).unwrap_or_default())
    }
}

impl std::error::Error for ApiError {}
