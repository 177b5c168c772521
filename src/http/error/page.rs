//! The page that an error is shown on.

use askama::Template;
use url::form_urlencoded;

use super::Words;
use crate::http::layout::Frame;

#[derive(Template)]
#[template(path = "problem.html")]
pub(super) struct ProblemPage<'a> {
    frame: Frame,
    words: &'a Words,
    request_id: &'a str,
    /// The query of the link that signs in again.
    query: String,
}

impl<'a> ProblemPage<'a> {
    pub(super) fn new(frame: Frame, words: &'a Words, request_id: &'a str, return_to: Option<&str>) -> Self {
        let mut query = form_urlencoded::Serializer::new(String::new());
        if let Some(path) = return_to {
            query.append_pair("return_to", path);
        }
        Self { frame, words, request_id, query: query.finish() }
    }
}
