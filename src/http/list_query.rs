//! The query of a list: search, order, page; and the links to other pages.

use std::marker::PhantomData;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, Datelike as _, Utc};
use serde::{Deserialize, Serialize};
use url::form_urlencoded;
use uuid::Uuid;

use super::query::{Parameters, Query, QueryError};
use crate::db::{Cursor, Key, PAGE_SIZE, Page, PagePosition, PageRequest, Sort};

/// Maximum of `?limit=`.
const MAX_LIMIT: usize = 100;

/// Parameters that are not filters of one list.
const COMMON: &[&str] = &["search", "sort", "after", "before", "limit"];

/// A kind of list: its parameters, and what its filters accept.
pub(super) trait List {
    /// Names of all parameters. Lists without `sort` show the newest rows first.
    const NAMES: &'static [&'static str];
    /// Whether IDs of rows are UUIDs, so that a cursor with another ID is an error.
    const UUIDS: bool = false;

    /// Checks the value of a filter.
    fn check(_name: &'static str, _value: &str) -> Result<(), QueryError> {
        Ok(())
    }
}

/// `/teams`, `/organizations` and `/people`.
pub(super) struct Sorted;

impl List for Sorted {
    const NAMES: &'static [&'static str] = COMMON;
}

/// Members of a team or an organization.
pub(super) struct Members;

impl List for Members {
    const NAMES: &'static [&'static str] = &["search", "after", "before", "limit"];
}

/// The query of a list.
pub(super) struct ListQuery<L> {
    /// The page for the database.
    pub(super) request: PageRequest,
    /// Values of the list's own filters.
    filters: Vec<(&'static str, String)>,
    list: PhantomData<L>,
}

/// Queries of the links to the previous and the next page.
pub(super) struct Pager {
    pub(super) previous: Option<String>,
    pub(super) next: Option<String>,
}

const AFTER: QueryError =
    QueryError::Value { name: "after", allowed: "the “next” of a page of the same list in the same order" };
const BEFORE: QueryError =
    QueryError::Value { name: "before", allowed: "the “previous” of a page of the same list in the same order" };

/// A cursor in a link. A forged one shows no more rows than the user may see.
#[derive(Serialize, Deserialize)]
enum EncodedCursor {
    #[serde(rename = "n")]
    Name(String, String),
    #[serde(rename = "t")]
    Time(DateTime<Utc>, String),
}

impl<L: List> Parameters for ListQuery<L> {
    const NAMES: &'static [&'static str] = L::NAMES;

    fn read(query: &Query) -> Result<Self, QueryError> {
        let sort = match query.value("sort") {
            None if !Self::is_sortable() => Sort::Newest,
            None | Some("name") => Sort::Name,
            Some("newest") => Sort::Newest,
            Some(_) => return Err(QueryError::Value { name: "sort", allowed: "name, newest" }),
        };
        let limit = match query.value("limit").map(str::parse) {
            None => PAGE_SIZE,
            Some(Ok(limit @ 1..=MAX_LIMIT)) => limit,
            Some(_) => return Err(QueryError::Value { name: "limit", allowed: "a whole number from 1 to 100" }),
        };
        let cursor = |text: &str| {
            let fits = |cursor: &Cursor| {
                matches!((sort, &cursor.key), (Sort::Name, Key::Name(_)) | (Sort::Newest, Key::Time(_)))
                    && (!L::UUIDS || Uuid::parse_str(&cursor.id).is_ok())
            };
            decode_cursor(text).filter(fits)
        };
        let position = match (query.value("after"), query.value("before")) {
            (None, None) => PagePosition::First,
            (Some(after), None) => PagePosition::After(cursor(after).ok_or(AFTER)?),
            (None, Some(before)) => PagePosition::Before(cursor(before).ok_or(BEFORE)?),
            (Some(_), Some(_)) => return Err(QueryError::Conflict { name: "before", other: "after" }),
        };
        let mut filters = Vec::new();
        for &name in L::NAMES.iter().filter(|name| !COMMON.contains(name)) {
            if let Some(text) = query.text(name)? {
                L::check(name, text)?;
                filters.push((name, text.to_owned()));
            }
        }
        let search = query.text("search")?.map(ToOwned::to_owned);
        Ok(Self { request: PageRequest { search, sort, position, limit }, filters, list: PhantomData })
    }
}

impl<L: List> ListQuery<L> {
    fn is_sortable() -> bool {
        L::NAMES.contains(&"sort")
    }

    /// The search text, or an empty one.
    pub(super) fn search(&self) -> &str {
        self.request.search.as_deref().unwrap_or_default()
    }

    /// The value of one of the list's own filters.
    pub(super) fn filter(&self, name: &str) -> Option<&str> {
        self.filters.iter().find(|(known, _)| *known == name).map(|(_, value)| value.as_str())
    }

    /// Whether the newest rows come first.
    pub(super) fn newest(&self) -> bool {
        self.request.sort == Sort::Newest
    }

    /// `limit` if it is not the default, so that a search can keep it.
    pub(super) fn non_default_limit(&self) -> Option<usize> {
        Some(self.request.limit).filter(|limit| *limit != PAGE_SIZE)
    }

    /// Whether this is the first page without search and filters.
    pub(super) fn is_unfiltered_first_page(&self) -> bool {
        self.search().is_empty() && self.filters.is_empty() && matches!(self.request.position, PagePosition::First)
    }

    /// A query with the filters, some of them changed; `None` removes one.
    pub(super) fn with_filters(&self, changes: &[(&'static str, Option<&str>)]) -> String {
        let kept = self.filters.iter().filter(|(name, _)| changes.iter().all(|(changed, _)| changed != name));
        let set = changes.iter().filter_map(|(name, value)| Some((*name, (*value)?)));
        let mut query = form_urlencoded::Serializer::new(String::new());
        query.extend_pairs(kept).extend_pairs(set).finish()
    }

    pub(super) fn pager<T>(&self, listed: &Page<T>) -> Pager {
        let link = |name: &'static str, cursor: &Cursor| {
            let mut query = form_urlencoded::Serializer::new(String::new());
            if !self.search().is_empty() {
                query.append_pair("search", self.search());
            }
            if Self::is_sortable() && self.newest() {
                query.append_pair("sort", "newest");
            }
            if let Some(limit) = self.non_default_limit() {
                query.append_pair("limit", &limit.to_string());
            }
            query.extend_pairs(&self.filters).append_pair(name, &encode_cursor(cursor));
            format!("?{}", query.finish())
        };
        Pager {
            previous: listed.previous.as_ref().map(|cursor| link("before", cursor)),
            next: listed.next.as_ref().map(|cursor| link("after", cursor)),
        }
    }
}

/// Encodes a cursor for a link.
pub(super) fn encode_cursor(cursor: &Cursor) -> String {
    let id = cursor.id.clone();
    let encoded = match &cursor.key {
        Key::Name(name) => EncodedCursor::Name(name.clone(), id),
        Key::Time(time) => EncodedCursor::Time(*time, id),
    };
    URL_SAFE_NO_PAD.encode(serde_json::to_vec(&encoded).unwrap_or_default())
}

fn decode_cursor(text: &str) -> Option<Cursor> {
    let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
    let (key, id) = match serde_json::from_slice(&bytes).ok()? {
        EncodedCursor::Name(name, id) => (Key::Name(name), id),
        EncodedCursor::Time(time, id) => (Key::Time(time), id),
    };
    // Postgres cannot represent such a text or time, so no row has it.
    let known = match &key {
        Key::Name(name) => !name.contains('\0'),
        Key::Time(time) => (1..=9999).contains(&time.year()),
    };
    (known && !id.contains('\0')).then_some(Cursor { key, id })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cursor_round_trips_and_forged_cursor_is_rejected() {
        let time = DateTime::from_timestamp_micros(1_790_000_000_123_456).unwrap();
        for key in [Key::Name("ä & \"b\"".to_owned()), Key::Time(time)] {
            let cursor = Cursor { key, id: "id/1".to_owned() };
            assert_eq!(decode_cursor(&encode_cursor(&cursor)), Some(cursor));
        }
        let encode = |json: &str| URL_SAFE_NO_PAD.encode(json);
        for text in [
            "",
            "x",
            &encode("[]"),
            &encode(r#"{"n":["a\u0000","b"]}"#),
            &encode(r#"{"t":["now","b"]}"#),
            &encode(r#"{"t":["-9999-01-01T00:00:00Z","b"]}"#),
        ] {
            assert_eq!(decode_cursor(text), None, "{text}");
        }
    }
}
