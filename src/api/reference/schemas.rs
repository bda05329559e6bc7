//! The description as `OpenAPI` 3.1: the table of operations, and the shapes of what is sent and answered.

use utoipa::ToSchema;
use utoipa::openapi::content::Content as MediaType;
use utoipa::openapi::path::{
    HttpMethod, OperationBuilder, ParameterBuilder, ParameterIn, PathItem, PathsBuilder,
};
use utoipa::openapi::request_body::{RequestBody, RequestBodyBuilder};
use utoipa::openapi::response::{Response, ResponseBuilder};
use utoipa::openapi::schema::{
    ComponentsBuilder, KnownFormat, ObjectBuilder, Schema, SchemaFormat, SchemaType, Type,
};
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityRequirement, SecurityScheme};
use utoipa::openapi::tag::TagBuilder;
use utoipa::openapi::{InfoBuilder, OpenApi, OpenApiBuilder, Ref, RefOr, Required};

use super::operation::{Answer, Body, Content, Group, Kind, Method, Operation, Parameter, Place};
use super::shapes;
use crate::api::erase::ErasedView;
use crate::api::problem::ProblemDocument;
use crate::api::rejected::RejectedView;
use crate::api::render::CallView;
use crate::api::stats::HistoryView;

/// The scheme of bearer tokens.
const TOKEN: &str = "token";
const PROBLEM: &str = "application/problem+json";

/// Problems of everything below `/v1`.
const OF_ALL: &[(u16, &[&str])] =
    &[(500, &["internal_error"]), (503, &["starting", "draining", "ledger_away"])];
/// Problems of whatever needs a token.
const OF_TOKENS: &[(u16, &[&str])] =
    &[(401, &["token_missing", "token_unknown"]), (403, &["role_missing", "csrf_missing", "foreign_origin"])];
/// Problems of whatever takes a body.
const OF_BODIES: &[(u16, &[&str])] = &[
    (400, &["malformed_json", "body_broken"]),
    (408, &["body_too_slow"]),
    (413, &["body_too_large"]),
    (415, &["unsupported_media_type", "unsupported_content_encoding"]),
    (422, &["missing_field", "unknown_field", "wrong_type", "invalid_value"]),
];

/// The whole description.
pub(super) fn describe(operations: &[Operation]) -> OpenApi {
    let info = InfoBuilder::new()
        .title("Redial")
        .version(env!("CARGO_PKG_VERSION"))
        .description(Some(shapes::INTRODUCTION))
        .build();
    let paths = operations.iter().fold(PathsBuilder::new(), |paths, operation| {
        paths.path(operation.path, PathItem::new(method(operation.method), describe_operation(operation)))
    });
    let tags = Group::ALL
        .iter()
        .map(|(_, name, about)| TagBuilder::new().name(*name).description(Some(*about)).build());
    let token = SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer));
    let components = components().security_scheme(TOKEN, token).build();
    OpenApiBuilder::new()
        .info(info)
        .paths(paths.build())
        .tags(Some(tags.collect::<Vec<_>>()))
        .components(Some(components))
        .build()
}

/// Every shape: those of the types that are answered, and those that are put together by hand.
fn components() -> ComponentsBuilder {
    let mut shapes = Vec::new();
    collect::<CallView>(&mut shapes);
    collect::<HistoryView>(&mut shapes);
    collect::<RejectedView>(&mut shapes);
    collect::<ErasedView>(&mut shapes);
    collect::<ProblemDocument<'static>>(&mut shapes);
    shapes::collect_all(&mut shapes);
    shapes
        .into_iter()
        .fold(ComponentsBuilder::new(), |components, (name, schema)| components.schema(name, schema))
}

/// Adds a shape and the shapes that it is made of.
pub(super) fn collect<T: ToSchema>(shapes: &mut Vec<(String, RefOr<Schema>)>) {
    T::schemas(shapes);
    shapes.push((T::name().into_owned(), T::schema()));
}

const fn method(method: Method) -> HttpMethod {
    match method {
        Method::Get => HttpMethod::Get,
        Method::Post => HttpMethod::Post,
        Method::Delete => HttpMethod::Delete,
    }
}

fn describe_operation(operation: &Operation) -> utoipa::openapi::path::Operation {
    let mut described = OperationBuilder::new()
        .summary(Some(operation.summary))
        .tag(operation.group.name())
        .operation_id(Some(id_of(operation)))
        .request_body(operation.body.map(request_body));
    let role = operation.role.map(|role| format!("Needs the role `{role}`."));
    let sentences: Vec<&str> = [operation.description, role.as_deref().unwrap_or_default()]
        .into_iter()
        .filter(|sentence| !sentence.is_empty())
        .collect();
    if !sentences.is_empty() {
        described = described.description(Some(sentences.join(" ")));
    }
    if operation.role.is_some() {
        described = described.security(SecurityRequirement::new(TOKEN, Vec::<String>::new()));
    }
    for known in operation.parameters {
        described = described.parameter(parameter(known));
    }
    for known in operation.answers {
        described = described.response(known.status.to_string(), answer(known));
    }
    for (status, codes) in problems(operation) {
        if operation.answers.iter().all(|answer| answer.status != status) {
            described = described.response(status.to_string(), problem(&codes));
        }
    }
    described.build()
}

/// `get_v1_calls_id`: stable, and unique because method and path are.
fn id_of(operation: &Operation) -> String {
    let method = match operation.method {
        Method::Get => "get",
        Method::Post => "post",
        Method::Delete => "delete",
    };
    let words: Vec<&str> =
        operation.path.split(['/', '{', '}', '.']).filter(|word| !word.is_empty()).collect();
    format!("{method}_{}", words.join("_"))
}

/// The problems of an operation, by status: its own and those that all of its kind can have.
fn problems(operation: &Operation) -> Vec<(u16, Vec<&'static str>)> {
    let mut all: Vec<(u16, &[&str])> = operation.problems.to_vec();
    if operation.body.is_some() {
        all.extend(OF_BODIES);
    }
    if operation.role.is_some() {
        all.extend(OF_TOKENS);
    }
    if operation.path.starts_with("/v1/") {
        all.extend(OF_ALL);
    }
    let mut by_status: std::collections::BTreeMap<u16, Vec<&'static str>> = std::collections::BTreeMap::new();
    for (status, codes) in all {
        by_status.entry(status).or_default().extend(codes);
    }
    by_status.into_iter().collect()
}

fn parameter(known: &Parameter) -> utoipa::openapi::path::Parameter {
    let (place, required) = match known.place {
        Place::Path => (ParameterIn::Path, Required::True),
        Place::Query => (ParameterIn::Query, Required::False),
        Place::Header => (ParameterIn::Header, Required::False),
    };
    ParameterBuilder::new()
        .name(known.name)
        .parameter_in(place)
        .required(required)
        .description(Some(known.about))
        .schema(Some(kind(known.kind)))
        .build()
}

fn kind(kind: Kind) -> ObjectBuilder {
    let of = |simple: Type| ObjectBuilder::new().schema_type(SchemaType::new(simple));
    let text = |format| of(Type::String).format(Some(SchemaFormat::KnownFormat(format)));
    match kind {
        Kind::Text => of(Type::String),
        Kind::Id => of(Type::String).format(Some(SchemaFormat::Custom("uuid".to_owned()))),
        Kind::Time => text(KnownFormat::DateTime),
        Kind::Number => of(Type::Integer),
        Kind::Truth => of(Type::Boolean),
    }
}

fn reference(schema: &str) -> MediaType {
    MediaType::new(Some(Ref::from_schema_name(schema)))
}

fn request_body(body: Body) -> RequestBody {
    RequestBodyBuilder::new()
        .content("application/json", reference(body.schema))
        .required(Some(if body.needed { Required::True } else { Required::False }))
        .build()
}

fn answer(answer: &Answer) -> Response {
    let described = ResponseBuilder::new().description(answer.about);
    match answer.content {
        Content::Json(schema) => described.content("application/json", reference(schema)).build(),
        Content::Other(media_type) => described.content(media_type, MediaType::default()).build(),
        Content::Nothing => described.build(),
    }
}

fn problem(codes: &[&str]) -> Response {
    let codes: Vec<String> = codes.iter().map(|code| format!("`{code}`")).collect();
    ResponseBuilder::new().description(codes.join(", ")).content(PROBLEM, reference("Problem")).build()
}
