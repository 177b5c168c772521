//! The error page.

use askama::Template;
use url::form_urlencoded;

use super::ErrorMessage;
use crate::http::layout::Layout;

#[derive(Template)]
#[template(path = "error.html")]
pub(super) struct ProblemPage<'a> {
    layout: Layout,
    message: &'a ErrorMessage,
    request_id: &'a str,
    /// The query of the sign-in link.
    query: String,
}

impl<'a> ProblemPage<'a> {
    pub(super) fn new(layout: Layout, message: &'a ErrorMessage, request_id: &'a str, return_to: Option<&str>) -> Self {
        let mut query = form_urlencoded::Serializer::new(String::new());
        if let Some(path) = return_to {
            query.append_pair("return_to", path);
        }
        Self { layout, message, request_id, query: query.finish() }
    }
}
