//! Names of parameters, for SQL that the configuration holds: `:name` becomes the place that the
//! database knows.

use super::Dialect;
use super::lex::{Lexer, Token};
use crate::spec::SourceKind;

/// Rewrites `:name` to `$1` or `?1`, counted by where `names` holds the name.
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
}
