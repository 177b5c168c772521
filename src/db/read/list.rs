//! Paged lists: the parameters of a list and its query.
//!
//! The query is built from constant parts; all outside values are bound.

use chrono::{DateTime, Utc};
use sqlx::postgres::PgRow;
use sqlx::{FromRow, Postgres, QueryBuilder, Row as _};

use crate::db::{Db, DbError};
use crate::permissions::Scope;

/// Default number of rows per page.
pub const PAGE_SIZE: usize = 50;

/// Parameters of a list.
#[derive(Clone, Debug)]
pub struct PageRequest {
    /// Search text: each of its words must be the prefix of a word; or a complete ID.
    pub search: Option<String>,
    pub sort: Sort,
    pub position: PagePosition,
    /// Maximum number of rows.
    pub limit: usize,
}

impl Default for PageRequest {
    fn default() -> Self {
        Self { search: None, sort: Sort::default(), position: PagePosition::default(), limit: PAGE_SIZE }
    }
}

/// Order of a list.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Sort {
    /// By name, ignoring case.
    #[default]
    Name,
    /// Newest first.
    Newest,
}

/// Which page of the list.
#[derive(Clone, Debug, Default)]
pub enum PagePosition {
    #[default]
    First,
    After(Cursor),
    Before(Cursor),
}

/// A position between two rows. It stays valid if its row is deleted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cursor {
    pub key: Key,
    pub id: String,
}

/// Value of the sort column.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Key {
    Name(String),
    Time(DateTime<Utc>),
}

/// One page of a list.
#[derive(Clone, Debug)]
pub struct Page<T> {
    pub rows: Vec<T>,
    /// Cursor of the previous page; `None` on the first page.
    pub previous: Option<Cursor>,
    /// Cursor of the next page; `None` on the last page.
    pub next: Option<Cursor>,
}

/// SQL parts of a list, over the [relations](crate::db::relations).
pub(super) struct ListSource {
    pub(super) columns: &'static str,
    pub(super) from: &'static str,
    pub(super) id: &'static str,
    /// Lower-case name, as in the index.
    pub(super) name: &'static str,
    pub(super) created: &'static str,
    /// Search vector, as in the index.
    pub(super) words: &'static str,
    /// Whether the rows are records of this service, which have UUIDs and no timestamps of the store.
    pub(super) records: bool,
}

/// Name and search vector of a user `u`.
pub(super) const USER_NAME: &str = "lower(coalesce(nullif(u.user_alias, ''), u.user_email, u.user_id))";
pub(super) const USER_WORDS: &str = "entraway.words(coalesce(u.user_alias, '') || ' ' || coalesce(u.user_email, ''))";

pub(super) type Builder = QueryBuilder<Postgres>;

/// Adds the condition for rows visible to a user, given the key of the user's row and the organizations they
/// administer.
pub(super) type OwnFilter = fn(&mut Builder, &str, &[String]);

impl Db {
    /// Loads a page. `conditions` adds SQL conditions, each starting with ` and `.
    pub(super) async fn list<T>(
        &self,
        source: &ListSource,
        request: &PageRequest,
        conditions: impl FnOnce(&mut Builder),
    ) -> Result<Page<T>, DbError>
    where
        T: for<'r> FromRow<'r, PgRow> + Send + Unpin,
    {
        let mut query = self.select(source, if request.search.is_some() { "select * from (" } else { "" });
        conditions(&mut query);
        let backward = matches!(request.position, PagePosition::Before(_));
        let (key, name, upward) = match request.sort {
            Sort::Name => (source.name, "sort_name", !backward),
            Sort::Newest => (source.created, "sort_time", backward),
        };
        if let PagePosition::After(cursor) | PagePosition::Before(cursor) = &request.position {
            query.push(" and (").push(key).push(", ").push(source.id).push(if upward { ") > (" } else { ") < (" });
            match &cursor.key {
                Key::Name(name) => query.push_bind(name.clone()),
                Key::Time(time) => query.push_bind(*time).push("::timestamptz").push(self.zone(source)),
            };
            query.push(", ").push_bind(cursor.id.clone()).push(if source.records { "::uuid)" } else { ")" });
        }
        let direction = if upward { "" } else { " desc" };
        if let Some(text) = &request.search {
            search(&mut query, source, text);
            // Filter first, sort afterwards. Postgres overestimates how frequent the prefix of a rare word is, and
            // would scan the list in order until it has found enough rows.
            query.push(" offset 0) found order by ").push(name).push(direction).push(", id").push(direction);
        } else {
            query.push(" order by ").push(key).push(direction).push(", ").push(source.id).push(direction);
        }
        query.push(" limit ").push_bind(i64::try_from(request.limit + 1).unwrap_or(i64::MAX));
        let mut rows = query.build().fetch_all(&mut *self.connection().await?).await?;

        let more = rows.len() > request.limit;
        rows.truncate(request.limit);
        if backward {
            rows.reverse();
        }
        let cursor = |row: Option<&PgRow>| row.map(|row| cursor(row, request.sort)).transpose();
        let (first, last) = (cursor(rows.first())?, cursor(rows.last())?);
        let (previous, next) = match request.position {
            PagePosition::First => (None, last.filter(|_| more)),
            PagePosition::After(_) => (first, last.filter(|_| more)),
            PagePosition::Before(_) => (first.filter(|_| more), last),
        };
        let rows = rows.iter().map(T::from_row).collect::<Result<_, _>>()?;
        Ok(Page { rows, previous, next })
    }

    /// Loads one row by ID, if it meets the conditions.
    pub(super) async fn one<T>(
        &self,
        source: &ListSource,
        id: &str,
        conditions: impl FnOnce(&mut Builder),
    ) -> Result<Option<T>, DbError>
    where
        T: for<'r> FromRow<'r, PgRow> + Send + Unpin,
    {
        let mut query = self.select(source, "");
        query.push(" and ").push(source.id).push(" = ").push_bind(id.to_owned());
        conditions(&mut query);
        let row = query.build().fetch_optional(&mut *self.connection().await?).await?;
        Ok(row.as_ref().map(T::from_row).transpose()?)
    }

    fn select(&self, source: &ListSource, start: &str) -> Builder {
        let ListSource { columns, from, id, name, created, .. } = source;
        let (relations, zone) = (self.relations(), self.zone(source));
        Builder::new(format!(
            "{relations}{start}select {columns}, {id}::text as id, {name} as sort_name, {created}{zone} as sort_time
             from {from} where true"
        ))
    }

    fn zone(&self, source: &ListSource) -> &'static str {
        if source.records { "" } else { self.to_timestamp() }
    }
}

/// Matches word prefixes or a complete ID.
fn search(query: &mut Builder, source: &ListSource, text: &str) {
    query.push(" and (").push(source.id).push(" = ").push_bind(text.trim().to_owned());
    if let Some(words) = ts_query(text) {
        query.push(" or ").push(source.words).push(" @@ to_tsquery('simple', ").push_bind(words).push(")");
    }
    query.push(")");
}

/// Converts `production ev` to `'production':* & 'ev':*`. `None` if it contains no word.
pub(super) fn ts_query(text: &str) -> Option<String> {
    let words = text.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty());
    let words: Vec<String> = words.take(8).map(|word| format!("'{word}':*")).collect();
    (!words.is_empty()).then(|| words.join(" & "))
}

fn cursor(row: &PgRow, sort: Sort) -> Result<Cursor, DbError> {
    let key = match sort {
        Sort::Name => Key::Name(row.try_get("sort_name")?),
        Sort::Newest => Key::Time(row.try_get("sort_time")?),
    };
    Ok(Cursor { key, id: row.try_get("id")? })
}

/// Adds the condition that restricts rows to a scope.
pub(super) fn add_scope(query: &mut Builder, scope: &Scope, own: OwnFilter) {
    if let Scope::Own { user_id, organizations } = scope {
        query.push(" and (");
        own(query, user_id, organizations);
        query.push(")");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn search_text_yields_only_word_prefixes() {
        assert_eq!(ts_query("Production  ev").as_deref(), Some("'Production':* & 'ev':*"));
        assert_eq!(
            ts_query("o'brien@contoso.example").as_deref(),
            Some("'o':* & 'brien':* & 'contoso':* & 'example':*")
        );
        assert_eq!(ts_query("a:* | !b \\ '").as_deref(), Some("'a':* & 'b':*"));
        assert_eq!(ts_query(" -- "), None);
    }
}
