use serde::Serialize;
use serde_json::{Value, json};

/// A refusal: the status and the JSON body that Marathon answers with.
#[derive(Clone, Debug, PartialEq)]
pub struct ApiError {
    /// HTTP status code.
    pub status: u16,
    /// The body, an object with at least `message`.
    pub body: Value,
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
        ApiError { status, body: json!({ "message": message.into() }) }
    }

    /// 422: the JSON has the wrong shape.
    ///
    /// Marathon: `RestResource.entity` of a `JsResultException`.
    pub fn invalid_json(details: Vec<Detail>) -> ApiError {
        ApiError { status: 422, body: json!({ "message": "Invalid JSON", "details": details }) }
    }

    /// 422: the shape is right and the content is not.
    ///
    /// Marathon: `ValidationFailedException`.
    pub fn invalid_object(details: Vec<Detail>) -> ApiError {
        ApiError { status: 422, body: json!({ "message": "Object is not valid", "details": details }) }
    }

    /// 400: the body is no JSON. `reason` is the parser's.
    ///
    /// Marathon: `JsonParseException` and, for an empty body, `JsonMappingException`.
    pub fn no_json(body: &[u8], reason: impl Into<String>) -> ApiError {
        if body.iter().all(u8::is_ascii_whitespace) {
            let details = "No content to map due to end-of-input";
            return ApiError {
                status: 400,
                body: json!({ "message": "Please specify data in JSON format", "details": details }),
            };
        }
        ApiError { status: 400, body: json!({ "message": "Invalid JSON", "details": reason.into() }) }
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
        let deployments: Vec<Value> = deployments.into_iter().map(|id| json!({ "id": id })).collect();
        ApiError { status: 409, body: json!({ "message": message, "deployments": deployments }) }
    }
}

impl std::fmt::Display for ApiError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.status, self.body)
    }
}

impl std::error::Error for ApiError {}
