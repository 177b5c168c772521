//! A list, a page at a time: what may be asked for, and the statement that is made of it. Its parts are fixed texts; all
//! that comes from outside is bound.

use chrono::{DateTime, Utc};
use sqlx::postgres::PgRow;
use sqlx::{FromRow, Postgres, QueryBuilder, Row as _};

use crate::db::{Store, StoreError};
use crate::permissions::Scope;

/// So many rows are on a page.
pub const PAGE: usize = 50;

/// What is asked for of a list.
#[derive(Clone, Debug)]
pub struct Listing {
    /// Rows that have, for each word here, a word that begins with it; or this very id.
    pub search: Option<String>,
    pub sort: Sort,
    pub turn: Turn,
    /// So many rows at most.
    pub most: usize,
}

impl Default for Listing {
    fn default() -> Self {
        Self { search: None, sort: Sort::default(), turn: Turn::default(), most: PAGE }
    }
}

/// The order of a list.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Sort {
    /// By name, without regard to case.
    #[default]
    Name,
    /// The newest first.
    Newest,
}

/// Where a page begins or ends.
#[derive(Clone, Debug, Default)]
pub enum Turn {
    #[default]
    First,
    After(Cursor),
    Before(Cursor),
}

/// A place in a list: between two rows, whether or not the one that it was taken from is still there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cursor {
    pub key: Key,
    pub id: String,
}

/// What a list is sorted by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Key {
    Name(String),
    Time(DateTime<Utc>),
}

/// One page of a list.
#[derive(Clone, Debug)]
pub struct Listed<T> {
    pub rows: Vec<T>,
    /// Where the page before ends; `None` on the first.
    pub previous: Option<Cursor>,
    /// Where the next page begins; `None` on the last.
    pub next: Option<Cursor>,
}

/// One kind of rows in one store, as SQL.
pub(super) struct Shape {
    pub(super) columns: &'static str,
    pub(super) from: &'static str,
    pub(super) id: &'static str,
    /// What turns a text into what `id` holds.
    pub(super) id_cast: &'static str,
    /// As the index has it: in lower case.
    pub(super) name: &'static str,
    pub(super) created: &'static str,
    /// What turns a moment into what `created` holds, and back.
    pub(super) zone: &'static str,
    /// The words that a search looks at, as the index has them.
    pub(super) words: &'static str,
}

pub(super) type Builder = QueryBuilder<Postgres>;

/// Adds the condition for what somebody sees of their own: given the key of their row and what they administer.
pub(super) type Own = fn(&mut Builder, &str, &[String]);

impl Store {
    /// A page of the rows of a shape. `only` adds conditions, each beginning with ` and `.
    pub(super) async fn list<T>(
        &self,
        shape: &Shape,
        listing: &Listing,
        only: impl FnOnce(&mut Builder),
    ) -> Result<Listed<T>, StoreError>
    where
        T: for<'r> FromRow<'r, PgRow> + Send + Unpin,
    {
        let mut query = Builder::new("");
        if listing.search.is_some() {
            query.push("select * from (");
        }
        select(&mut query, shape);
        only(&mut query);
        let backward = matches!(listing.turn, Turn::Before(_));
        let (key, name, upward) = match listing.sort {
            Sort::Name => (shape.name, "sort_name", !backward),
            Sort::Newest => (shape.created, "sort_time", backward),
        };
        if let Turn::After(cursor) | Turn::Before(cursor) = &listing.turn {
            query.push(" and (").push(key).push(", ").push(shape.id).push(if upward { ") > (" } else { ") < (" });
            match &cursor.key {
                Key::Name(name) => query.push_bind(name.clone()),
                Key::Time(time) => query.push_bind(*time).push("::timestamptz").push(shape.zone),
            };
            query.push(", ").push_bind(cursor.id.clone()).push(shape.id_cast).push(")");
        }
        let direction = if upward { "" } else { " desc" };
        if let Some(text) = &listing.search {
            search(&mut query, shape, text);
            // Found first and sorted then: Postgres takes the beginning of a rare word for a frequent one, and would look
            // at every row in the order of the list until it has seen enough that fit.
            query.push(" offset 0) found order by ").push(name).push(direction).push(", id").push(direction);
        } else {
            query.push(" order by ").push(key).push(direction).push(", ").push(shape.id).push(direction);
        }
        query.push(" limit ").push_bind(i64::try_from(listing.most + 1).unwrap_or(i64::MAX));
        let mut rows = query.build().fetch_all(&mut *self.connection().await?).await?;

        let more = rows.len() > listing.most;
        rows.truncate(listing.most);
        if backward {
            rows.reverse();
        }
        let cursor = |row: Option<&PgRow>| row.map(|row| cursor(row, listing.sort)).transpose();
        let (first, last) = (cursor(rows.first())?, cursor(rows.last())?);
        let (previous, next) = match listing.turn {
            Turn::First => (None, last.filter(|_| more)),
            Turn::After(_) => (first, last.filter(|_| more)),
            Turn::Before(_) => (first.filter(|_| more), last),
        };
        let rows = rows.iter().map(T::from_row).collect::<Result<_, _>>()?;
        Ok(Listed { rows, previous, next })
    }

    /// The row of a shape that has this id, if the conditions of `only` hold for it.
    pub(super) async fn one<T>(
        &self,
        shape: &Shape,
        id: &str,
        only: impl FnOnce(&mut Builder),
    ) -> Result<Option<T>, StoreError>
    where
        T: for<'r> FromRow<'r, PgRow> + Send + Unpin,
    {
        let mut query = Builder::new("");
        select(&mut query, shape);
        query.push(" and ").push(shape.id).push(" = ").push_bind(id.to_owned());
        only(&mut query);
        let row = query.build().fetch_optional(&mut *self.connection().await?).await?;
        Ok(row.as_ref().map(T::from_row).transpose()?)
    }
}

fn select(query: &mut Builder, shape: &Shape) {
    query
        .push("select ")
        .push(shape.columns)
        .push(", ")
        .push(shape.name)
        .push(" as sort_name, ")
        .push(shape.created)
        .push(shape.zone);
    query.push(" as sort_time from ").push(shape.from).push(" where true");
}

/// The beginnings of words; or an id, whole.
fn search(query: &mut Builder, shape: &Shape, text: &str) {
    query.push(" and (").push(shape.id).push(" = ").push_bind(text.trim().to_owned());
    if let Some(words) = ts_query(text) {
        query.push(" or ").push(shape.words).push(" @@ to_tsquery('simple', ").push_bind(words).push(")");
    }
    query.push(")");
}

/// `production ev` as `'production':* & 'ev':*`; `None` where there is no word in it.
fn ts_query(text: &str) -> Option<String> {
    let words = text.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty());
    let words: Vec<String> = words.take(8).map(|word| format!("'{word}':*")).collect();
    (!words.is_empty()).then(|| words.join(" & "))
}

fn cursor(row: &PgRow, sort: Sort) -> Result<Cursor, StoreError> {
    let key = match sort {
        Sort::Name => Key::Name(row.try_get("sort_name")?),
        Sort::Newest => Key::Time(row.try_get("sort_time")?),
    };
    Ok(Cursor { key, id: row.try_get("id")? })
}

/// The condition that leaves what somebody may see.
pub(super) fn within(query: &mut Builder, scope: &Scope, own: Own) {
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
    fn a_search_is_words_and_nothing_else() {
        assert_eq!(ts_query("Production  ev").as_deref(), Some("'Production':* & 'ev':*"));
        assert_eq!(
            ts_query("o'brien@contoso.example").as_deref(),
            Some("'o':* & 'brien':* & 'contoso':* & 'example':*")
        );
        assert_eq!(ts_query("a:* | !b \\ '").as_deref(), Some("'a':* & 'b':*"));
        assert_eq!(ts_query(" -- "), None);
    }
}
