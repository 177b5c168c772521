//! The query of a list: search, order, page; and the links to other pages.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, Datelike as _, Utc};
use serde::{Deserialize, Serialize};
use url::form_urlencoded;
use uuid::Uuid;

use super::query::{Query, QueryError};
use crate::db::{Cursor, Key, PAGE_SIZE, Page, PagePosition, PageRequest, Sort};

/// Maximum of `?limit=`.
const MAX_LIMIT: usize = 100;

/// Parameters of `/teams`, `/organizations` and `/people`, besides `after`, `before` and `limit`.
pub(super) const SORTED: &[&str] = &["search", "sort"];

/// Parameters of lists of members, which are sorted by creation.
pub(super) const MEMBERS: &[&str] = &["search"];

/// A parsed query.
pub(super) struct ListQuery {
    pub(super) search: String,
    pub(super) sort: Sort,
    /// Rows per page, from 1 to 100.
    pub(super) limit: usize,
    position: PagePosition,
    /// Values of the list's own filters.
    filters: Vec<(&'static str, String)>,
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

impl ListQuery {
    /// Parses `after`, `before`, `limit` and the parameters of this list, such as `SORTED`. Other parameters are
    /// errors.
    pub(super) fn read(query: Option<&str>, own: &[&'static str]) -> Result<Self, QueryError> {
        let query = Query::parse_strict(query, &[own, &["after", "before", "limit"]].concat())?;
        let sort = match query.value("sort") {
            None | Some("name") => Sort::Name,
            Some("newest") => Sort::Newest,
            Some(_) => return Err(QueryError::Value { name: "sort", allowed: "name, newest" }),
        };
        let limit = match query.value("limit").map(str::parse) {
            None => PAGE_SIZE,
            Some(Ok(limit @ 1..=MAX_LIMIT)) => limit,
            Some(_) => return Err(QueryError::Value { name: "limit", allowed: "a whole number from 1 to 100" }),
        };
        let position = match (query.value("after"), query.value("before")) {
            (None, None) => PagePosition::First,
            (Some(after), None) => PagePosition::After(decode_cursor(after).ok_or(AFTER)?),
            (None, Some(before)) => PagePosition::Before(decode_cursor(before).ok_or(BEFORE)?),
            (Some(_), Some(_)) => return Err(QueryError::Conflict { name: "before", other: "after" }),
        };
        let mut filters = Vec::new();
        for &name in own.iter().filter(|name| !SORTED.contains(name)) {
            filters.extend(query.text(name)?.map(|text| (name, text.to_owned())));
        }
        let search = query.text("search")?.unwrap_or_default().to_owned();
        Ok(Self { search, sort, limit, position, filters })
    }

    /// The page request for the database. A cursor of another order is an error.
    pub(super) fn page_request(&self, sort: Sort) -> Result<PageRequest, QueryError> {
        self.check_cursor(|cursor| {
            matches!((sort, &cursor.key), (Sort::Name, Key::Name(_)) | (Sort::Newest, Key::Time(_)))
        })?;
        let search = Some(self.search.clone()).filter(|search| !search.is_empty());
        Ok(PageRequest { search, sort, position: self.position.clone(), limit: self.limit })
    }

    /// Like `page_request`, for sync records: newest first, with UUIDs as IDs.
    pub(super) fn sync_page_request(&self) -> Result<PageRequest, QueryError> {
        self.check_cursor(|cursor| Uuid::parse_str(&cursor.id).is_ok())?;
        self.page_request(Sort::Newest)
    }

    fn check_cursor(&self, fits: impl Fn(&Cursor) -> bool) -> Result<(), QueryError> {
        match &self.position {
            PagePosition::After(cursor) if !fits(cursor) => Err(AFTER),
            PagePosition::Before(cursor) if !fits(cursor) => Err(BEFORE),
            _ => Ok(()),
        }
    }

    /// The value of one of the list's own filters.
    pub(super) fn filter(&self, name: &str) -> Option<&str> {
        self.filters.iter().find(|(known, _)| *known == name).map(|(_, value)| value.as_str())
    }

    /// Whether the newest rows come first.
    pub(super) fn newest(&self) -> bool {
        self.sort == Sort::Newest
    }

    /// `limit` if it is not the default, so that a search can keep it.
    pub(super) fn non_default_limit(&self) -> Option<usize> {
        Some(self.limit).filter(|limit| *limit != PAGE_SIZE)
    }

    /// Whether this is the first page without search and filters.
    pub(super) fn is_unfiltered_first_page(&self) -> bool {
        self.search.is_empty() && self.filters.is_empty() && matches!(self.position, PagePosition::First)
    }

    pub(super) fn pager<T>(&self, listed: &Page<T>) -> Pager {
        let link = |name: &'static str, cursor: &Cursor| {
            let mut query = form_urlencoded::Serializer::new(String::new());
            if !self.search.is_empty() {
                query.append_pair("search", &self.search);
            }
            if self.newest() {
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
