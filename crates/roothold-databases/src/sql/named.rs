//! Names of parameters, for SQL that the configuration holds: `:name` becomes the place that the
//! database knows.

use super::Dialect;
use super::lex::{Lexer, Token};
use crate::spec::SourceKind;

/// Rewrites `:name` to `$1` (PostgreSQL) or `?1`, counted by where `names` holds the name.
///
/// # Errors
/// A name that is not among `names`, in words.
pub fn bind_names(kind: SourceKind, sql: &str, names: &[&str]) -> Result<String, String> {
    let mark = if kind == SourceKind::Postgres { '$' } else { '?' };
    let mut bound = String::with_capacity(sql.len());
    let mut tokens = Lexer::new(Dialect::of(kind), sql);
    let mut copied = 0;
    while let Some(token) = tokens.next() {
        let Token::Parameter(text) = token else { continue };
        let Some(name) = text.strip_prefix(':') else { continue };
        let place = names.iter().position(|known| *known == name).ok_or_else(|| {
            format!("there is no parameter `{name}`; there are: {}", names.join(", "))
        })?;
        let end = tokens.at();
        bound.push_str(&sql[copied..end - text.len()]);
        bound.push(mark);
        bound.push_str(&(place + 1).to_string());
        copied = end;
    }
    bound.push_str(&sql[copied..]);
    Ok(bound)
}

/// A statement as MySQL takes it: every place is `?`.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Places {
    pub(crate) sql: String,
    /// For each place the number of its value, from 0.
    pub(crate) values: Vec<usize>,
    /// Where digits were left out, in the new text, and how many.
    pub(crate) cuts: Vec<(usize, usize)>,
}

/// Rewrites `?1`, `?2`, … to `?`, and keeps in which order their values come.
///
/// # Errors
/// Places with and without numbers are mixed, or a number is 0, in words.
pub(crate) fn places(sql: &str) -> Result<Places, &'static str> {
    let mut places =
        Places { sql: String::with_capacity(sql.len()), values: Vec::new(), cuts: Vec::new() };
    let mut tokens = Lexer::new(Dialect::MySql, sql);
    let (mut copied, mut counted) = (0, None);
    while let Some(token) = tokens.next() {
        let Token::Parameter(text) = token else { continue };
        let Some(number) = text.strip_prefix('?') else { continue };
        if *counted.get_or_insert(!number.is_empty()) == number.is_empty() {
            return Err("places are all written ?, or all ?1, ?2, …");
        }
        if number.is_empty() {
            places.values.push(places.values.len());
            continue;
        }
        let number: usize = number.parse().unwrap_or(0);
        let value = number.checked_sub(1).ok_or("the first place is ?1")?;
        let end = tokens.at();
        places.values.push(value);
        places.sql.push_str(&sql[copied..=end - text.len()]);
        places.cuts.push((places.sql.len(), text.len() - 1));
        copied = end;
    }
    places.sql.push_str(&sql[copied..]);
    Ok(places)
}

impl Places {
    /// The place in the text that was rewritten.
    pub(crate) fn before(&self, at: usize) -> usize {
        let cut: usize =
            self.cuts.iter().filter(|(place, _)| *place <= at).map(|(_, cut)| cut).sum();
        at + cut
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_become_places_and_nothing_else_changes() {
        let sql = "select a::int, ':a' /* :a */ from t where x = :b and y=:a or z = :b";
        let bound = bind_names(SourceKind::Postgres, sql, &["a", "b"]).unwrap();
        assert_eq!(bound, "select a::int, ':a' /* :a */ from t where x = $2 and y=$1 or z = $2");
        let bound = bind_names(SourceKind::Sqlite, "select :b", &["a", "b"]).unwrap();
        assert_eq!(bound, "select ?2");
        let unknown = bind_names(SourceKind::Sqlite, "select :c", &["a", "b"]).unwrap_err();
        assert_eq!(unknown, "there is no parameter `c`; there are: a, b");
    }

    #[test]
    fn numbered_places_become_plain_ones_in_the_order_of_the_text() {
        let of = |sql: &str| places(sql).unwrap();
        assert_eq!(of("a = ? and b = ?").values, [0, 1]);
        let numbered = of("a = ?2 and b = '?9' and c in (?1, ?2) -- ?4");
        assert_eq!(numbered.sql, "a = ? and b = '?9' and c in (?, ?) -- ?4");
        assert_eq!(numbered.values, [1, 0, 1]);
        assert_eq!(&"a = ?2 and b"[numbered.before(6)..], "and b");
        assert_eq!(numbered.before(4), 4);
        assert!(places("? ?1").is_err() && places("?1 ?").is_err() && places("?0").is_err());
        let named = bind_names(SourceKind::MySql, "x = :b and y = @a or z := :a", &["a", "b"]);
        assert_eq!(named.unwrap(), "x = ?2 and y = @a or z := ?1");
    }
}
