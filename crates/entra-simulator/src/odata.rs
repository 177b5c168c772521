//! Graph's query options and paging: `$select`, `$top`, and links with an opaque `$skiptoken`.

use axum::http::Uri;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value};

use crate::call::Params;
use crate::graph_error::GraphError;

/// Start of a page in a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Cursor {
    /// Page number from one.
    pub(crate) page: usize,
    pub(crate) offset: usize,
}

impl Cursor {
    const START: Self = Self { page: 1, offset: 0 };
    /// Prefix of our tokens. Looks like Graph's; a token without it is rejected.
    const MARK: &'static str = "RFNwdAIAAQAAAB6EJ1";

    fn to_token(self) -> String {
        format!("{}{}", Self::MARK, URL_SAFE_NO_PAD.encode(format!("{}:{}", self.page, self.offset)))
    }

    fn from_token(token: &str) -> Option<Self> {
        let bytes = URL_SAFE_NO_PAD.decode(token.strip_prefix(Self::MARK)?).ok()?;
        let text = String::from_utf8(bytes).ok()?;
        let (page, offset) = text.split_once(':')?;
        Some(Self { page: page.parse().ok()?, offset: offset.parse().ok()? })
    }
}

/// The address of a page, from which the addresses of other pages are derived.
#[derive(Clone, Debug)]
pub(crate) struct PageLink {
    /// Scheme, host and path.
    base: String,
    /// The query as sent, without the `$skiptoken`.
    kept: Vec<String>,
    cursor: Option<Cursor>,
}

impl PageLink {
    pub(crate) fn new(origin: &str, uri: &Uri) -> Self {
        let pairs = uri.query().unwrap_or_default().split('&').filter(|pair| !pair.is_empty());
        let (tokens, kept): (Vec<&str>, Vec<&str>) = pairs.partition(|pair| {
            let name = pair.split('=').next().unwrap_or_default();
            name == "$skiptoken" || name.eq_ignore_ascii_case("%24skiptoken")
        });
        let cursor = match tokens.first().and_then(|pair| pair.split_once('=')) {
            Some((_, token)) => Cursor::from_token(token),
            None => Some(Cursor::START),
        };
        // Graph's links have an unencoded `$`, even if the request's is encoded.
        let kept = kept.into_iter().map(|pair| pair.replacen("%24", "$", 1)).collect();
        Self { base: format!("{origin}{}", uri.path()), kept, cursor }
    }

    /// The cursor; the first page if the token is not ours.
    pub(crate) fn cursor(&self) -> Cursor {
        self.cursor.unwrap_or(Cursor::START)
    }

    pub(crate) fn to(&self, cursor: Cursor) -> String {
        let mut query = self.kept.clone();
        query.push(format!("$skiptoken={}", cursor.to_token()));
        format!("{}?{}", self.base, query.join("&"))
    }
}

/// Query options of a request.
#[derive(Clone, Debug, Default)]
pub(crate) struct QueryOptions {
    pub(crate) select: Option<Vec<String>>,
    top: Option<usize>,
}

impl QueryOptions {
    /// Parses the options of a single object (only `$select`) or of a list.
    pub(crate) fn parse(params: &Params, list: bool) -> Result<Self, GraphError> {
        let mut options = Self::default();
        let mut names: Vec<&str> = Vec::new();
        for (name, value) in &params.0 {
            if names.contains(&name.as_str()) {
                return Err(GraphError::bad_request(
                    "Request_BadRequest",
                    format!(
                        "Query option '{name}' was specified more than once, but it must be specified at most once."
                    ),
                ));
            }
            names.push(name);
            match name.as_str() {
                "$select" => options.select = Some(value.split(',').map(|name| name.trim().to_owned()).collect()),
                "$top" if list => options.top = Some(page_size(value)?),
                "$skiptoken" if list => {}
                "$filter" | "$search" | "$orderby" | "$count" | "$expand" => {
                    return Err(GraphError::bad_request("Request_UnsupportedQuery", "Unsupported Query."));
                }
                _ => {
                    return Err(GraphError::bad_request(
                        "Request_BadRequest",
                        format!("The query option '{name}' is not recognized or not supported here."),
                    ));
                }
            }
        }
        Ok(options)
    }

    /// Suffix of the entity set in `@odata.context`, such as `(id,displayName)`; may be empty.
    pub(crate) fn context(&self) -> String {
        self.select.as_ref().map(|names| format!("({})", names.join(","))).unwrap_or_default()
    }

    /// Rejects properties that are not in `known`.
    pub(crate) fn check(&self, kind: &str, known: &[&str]) -> Result<(), GraphError> {
        let unknown = self.select.iter().flatten().find(|name| !known.contains(&name.as_str()));
        unknown.map_or(Ok(()), |name| {
            Err(GraphError::bad_request(
                "BadRequest",
                format!(
                    "Parsing OData Select and Expand failed: Could not find a property named '{name}' on type \
                     'microsoft.graph.{kind}'."
                ),
            ))
        })
    }

    /// Keeps the selected properties, in that order, and annotations.
    pub(crate) fn project(&self, object: Value, default: Option<&[&str]>) -> Value {
        let Value::Object(all) = object else { return object };
        let keep: Vec<&str> = match (&self.select, default) {
            (Some(names), _) => names.iter().map(String::as_str).collect(),
            (None, Some(names)) => names.to_vec(),
            (None, None) => return Value::Object(all),
        };
        let annotations = all.iter().filter(|(name, _)| name.starts_with("@odata."));
        let mut kept: Map<String, Value> = annotations.map(|(name, value)| (name.clone(), value.clone())).collect();
        for name in keep {
            if let Some(value) = all.get(name) {
                kept.insert(name.to_owned(), value.clone());
            }
        }
        Value::Object(kept)
    }

    /// Whether only these properties were requested.
    pub(crate) fn selects_only(&self, names: &[&str]) -> bool {
        self.select.as_ref().is_some_and(|select| select.iter().all(|name| names.contains(&name.as_str())))
    }

    /// Body of the response: the page of `items` at the link's cursor, each converted by `to_json`.
    pub(crate) fn page<T>(
        &self,
        context: &str,
        items: &[T],
        link: &PageLink,
        default_size: usize,
        to_json: impl Fn(&T) -> Value,
    ) -> Result<Value, GraphError> {
        let cursor = link.cursor.ok_or_else(|| {
            GraphError::bad_request(
                "Directory_ExpiredPageToken",
                "The specified page token value has expired and can no longer be included in your request.",
            )
        })?;
        let size = self.top.unwrap_or(default_size);
        let value: Vec<Value> = items.iter().skip(cursor.offset).take(size).map(to_json).collect();
        let next = Cursor { page: cursor.page + 1, offset: cursor.offset + size };
        let mut body = Map::new();
        body.insert("@odata.context".to_owned(), Value::from(context));
        if next.offset < items.len() {
            body.insert("@odata.nextLink".to_owned(), Value::from(link.to(next)));
        }
        body.insert("value".to_owned(), Value::from(value));
        Ok(Value::Object(body))
    }
}

fn page_size(text: &str) -> Result<usize, GraphError> {
    text.parse().ok().filter(|size| (1..=999).contains(size)).ok_or_else(|| {
        GraphError::bad_request(
            "Request_UnsupportedQuery",
            format!("Invalid page size specified: '{text}'. Must be between 1 and 999 inclusive."),
        )
    })
}
