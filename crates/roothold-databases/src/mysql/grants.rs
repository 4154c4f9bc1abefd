//! What `SHOW GRANTS` says, read. Nothing else tells of every right: of roles, of routines, of those
//! that only some servers know.

/// One line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Grant {
    /// The rights, in capitals, each with its columns, if it is for some only.
    pub(super) rights: Vec<(String, Vec<String>)>,
    pub(super) on: On,
    /// Whether they can be handed on.
    pub(super) grantable: bool,
}

/// What a grant is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum On {
    Everything,
    /// The tables of schemas that fit a pattern, in which `_` and `%` stand for others.
    Schema(String),
    Table(String, String),
    /// `FUNCTION`, `PROCEDURE`, …, schema, name.
    Routine(String, String, String),
    /// Another account, as SQL takes it, which ours may be taken for.
    Proxy(String),
    /// The rights of a role. Here `rights` is empty.
    Role(String),
}

impl On {
    /// It as `GRANT … ON` takes it.
    pub(super) fn place(&self) -> String {
        match self {
            Self::Everything => "*.*".to_owned(),
            Self::Schema(schema) => format!("{}.*", quoted(schema)),
            Self::Table(schema, table) => format!("{}.{}", quoted(schema), quoted(table)),
            Self::Routine(kind, schema, name) => {
                format!("{kind} {}.{}", quoted(schema), quoted(name))
            }
            Self::Proxy(account) => account.clone(),
            Self::Role(name) => quoted(name),
        }
    }

    /// Whether it is for tables of the schema.
    pub(super) fn covers_schema(&self, name: &str) -> bool {
        match self {
            Self::Everything => true,
            Self::Schema(pattern) => fits(pattern, name),
            Self::Table(schema, _) => schema == name,
            Self::Routine(..) | Self::Proxy(_) | Self::Role(_) => false,
        }
    }

    /// Whether it is for the table.
    pub(super) fn covers(&self, schema: &str, table: &str) -> bool {
        self.covers_schema(schema) && !matches!(self, Self::Table(_, name) if name != table)
    }
}

/// `LIKE`, with `\` before what stands for itself.
fn fits(pattern: &str, name: &str) -> bool {
    let mut pattern = pattern.chars();
    let mut name_chars = name.chars();
    match pattern.next() {
        None => name.is_empty(),
        Some('%') => {
            let rest = pattern.as_str();
            name.char_indices().any(|(at, _)| fits(rest, &name[at..])) || fits(rest, "")
        }
        Some('_') => name_chars.next().is_some() && fits(pattern.as_str(), name_chars.as_str()),
        Some(c) => {
            let c = if c == '\\' { pattern.next().unwrap_or(c) } else { c };
            let same = name_chars.next().is_some_and(|other| other.eq_ignore_ascii_case(&c));
            same && fits(pattern.as_str(), name_chars.as_str())
        }
    }
}

/// A name as SQL takes it.
pub(super) fn quoted(name: &str) -> String {
    format!("`{}`", name.replace('`', "``"))
}

/// An account or a role, `user@host` or `role`, as SQL takes it.
pub(super) fn account(name: &str) -> String {
    let text = |text: &str| format!("'{}'", text.replace('\\', "\\\\").replace('\'', "''"));
    match name.rsplit_once('@') {
        Some((user, host)) => format!("{}@{}", text(user), text(host)),
        None => text(name),
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Token {
    Word(String),
    Quoted(String),
    Mark(char),
}

fn tokens(line: &str) -> Vec<Token> {
    let mut tokens = Vec::new();
    let mut chars = line.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '`' | '\'' | '"' => {
                let mut text = String::new();
                while let Some(next) = chars.next() {
                    match next {
                        _ if next == c && chars.peek() == Some(&c) => {
                            chars.next();
                            text.push(c);
                        }
                        _ if next == c => break,
                        '\\' if c != '`' => text.extend(chars.next()),
                        _ => text.push(next),
                    }
                }
                tokens.push(Token::Quoted(text));
            }
            c if c.is_whitespace() => {}
            c if c.is_alphanumeric() || c == '_' => {
                let mut word = String::from(c);
                while let Some(next) = chars.next_if(|c| c.is_alphanumeric() || *c == '_') {
                    word.push(next);
                }
                tokens.push(Token::Word(word));
            }
            c => tokens.push(Token::Mark(c)),
        }
    }
    tokens
}

/// Reads a line. `None`: it grants nothing, as `REVOKE` and `SET DEFAULT ROLE`.
///
/// # Errors
/// It grants something, and how it does is not known.
pub(super) fn read(line: &str) -> Result<Option<Grant>, ()> {
    let tokens = tokens(line);
    let is = |at: usize, word: &str| matches!(tokens.get(at), Some(Token::Word(text)) if text.eq_ignore_ascii_case(word));
    if is(0, "REVOKE") || is(0, "SET") {
        return Ok(None);
    }
    let to = tokens.iter().rposition(|token| matches!(token, Token::Word(word) if word == "TO"));
    let to = to.filter(|_| is(0, "GRANT")).ok_or(())?;
    let ends = tokens[to..].windows(2).any(|pair| match pair {
        [Token::Word(one), Token::Word(other)] => {
            matches!((one.as_str(), other.as_str()), ("GRANT" | "ADMIN", "OPTION"))
        }
        _ => false,
    });
    let words = &tokens[1..to];
    let on = words.iter().position(|token| matches!(token, Token::Word(word) if word == "ON"));
    let Some(on) = on else {
        let name = role(words).ok_or(())?;
        return Ok(Some(Grant { rights: Vec::new(), on: On::Role(name), grantable: ends }));
    };
    let rights = rights(&words[..on]);
    let behind = &words[on + 1..];
    let on = if rights.iter().any(|(right, _)| right == "PROXY") {
        On::Proxy(account(&role(behind).ok_or(())?))
    } else {
        place(behind).ok_or(())?
    };
    Ok(Some(Grant { rights, on, grantable: ends }))
}

/// `role`, or `role`@`host`.
fn role(tokens: &[Token]) -> Option<String> {
    let text = |token: &Token| match token {
        Token::Word(text) | Token::Quoted(text) => Some(text.clone()),
        Token::Mark(_) => None,
    };
    match tokens {
        [role] => text(role),
        [role, Token::Mark('@'), host] => Some(format!("{}@{}", text(role)?, text(host)?)),
        _ => None,
    }
}

fn rights(tokens: &[Token]) -> Vec<(String, Vec<String>)> {
    let mut rights: Vec<(String, Vec<String>)> = vec![(String::new(), Vec::new())];
    let mut in_columns = false;
    for token in tokens {
        let (right, columns) = rights.last_mut().expect("there is always one");
        match token {
            Token::Mark('(') => in_columns = true,
            Token::Mark(')') => in_columns = false,
            Token::Mark(',') if !in_columns => rights.push((String::new(), Vec::new())),
            Token::Word(text) | Token::Quoted(text) if in_columns => columns.push(text.clone()),
            Token::Word(word) => {
                if !right.is_empty() {
                    right.push(' ');
                }
                right.push_str(&word.to_ascii_uppercase());
            }
            Token::Quoted(_) | Token::Mark(_) => {}
        }
    }
    rights
}

fn place(tokens: &[Token]) -> Option<On> {
    use Token::{Mark, Quoted, Word};
    match tokens {
        [Mark('*'), Mark('.'), Mark('*')] => Some(On::Everything),
        [Quoted(schema) | Word(schema), Mark('.'), Mark('*')] => Some(On::Schema(schema.clone())),
        [Quoted(schema) | Word(schema), Mark('.'), Quoted(table) | Word(table)] => {
            Some(On::Table(schema.clone(), table.clone()))
        }
        [kind @ .., Quoted(schema) | Word(schema), Mark('.'), Quoted(name) | Word(name)] => {
            let words = kind.iter().map(|token| match token {
                Word(word) => Some(word.to_ascii_uppercase()),
                _ => None,
            });
            let kind = words.collect::<Option<Vec<String>>>()?.join(" ");
            Some(On::Routine(kind, schema.clone(), name.clone()))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grant(line: &str) -> Grant {
        read(line).unwrap_or_else(|()| panic!("{line}")).unwrap()
    }

    #[test]
    fn lines_of_both_servers_are_read() {
        let usage = grant(
            "GRANT USAGE ON *.* TO `u`@`%` IDENTIFIED BY PASSWORD '*0123' WITH MAX_STATEMENT_TIME 2.0",
        );
        assert_eq!((usage.rights[0].0.as_str(), &usage.on), ("USAGE", &On::Everything));
        let columns = grant(
            "GRANT SELECT (`id`, `na``me`), INSERT ON `app`.`customers` TO `u`@`%` WITH GRANT OPTION",
        );
        assert_eq!(
            columns.rights[0],
            ("SELECT".to_owned(), vec!["id".to_owned(), "na`me".to_owned()])
        );
        assert_eq!(columns.rights[1].0, "INSERT");
        assert!(columns.grantable && columns.on == On::Table("app".into(), "customers".into()));
        let routine = grant("GRANT EXECUTE ON FUNCTION `app`.`peek` TO `u`@`localhost`");
        assert_eq!(routine.on, On::Routine("FUNCTION".into(), "app".into(), "peek".into()));
        assert_eq!(routine.on.place(), "FUNCTION `app`.`peek`");
        let package = grant("GRANT EXECUTE ON PACKAGE BODY `app`.`p` TO `u`@`%`");
        assert_eq!(package.on, On::Routine("PACKAGE BODY".into(), "app".into(), "p".into()));
        assert_eq!(grant("GRANT `writers`@`%` TO `u`@`%`").on, On::Role("writers@%".into()));
        assert_eq!(
            grant("GRANT `writers` TO 'u'@'%' WITH ADMIN OPTION").on,
            On::Role("writers".into())
        );
        assert_eq!(
            grant("GRANT PROXY ON ''@'%' TO 'root'@'localhost' WITH GRANT OPTION").on,
            On::Proxy("''@'%'".into())
        );
        let all = grant("GRANT ALL PRIVILEGES ON `TO`.* TO `u`@`%`");
        assert_eq!((all.rights[0].0.as_str(), all.on), ("ALL PRIVILEGES", On::Schema("TO".into())));
        assert_eq!(read("SET DEFAULT ROLE `r` FOR `u`@`%`"), Ok(None));
        assert_eq!(read("REVOKE INSERT ON `a`.* FROM `u`@`%`"), Ok(None));
        assert!(read("ALLOW x").is_err() && read("GRANT x ON TO y").is_err());
    }

    #[test]
    fn schemas_are_patterns() {
        let covers = |pattern: &str, name| On::Schema(pattern.to_owned()).covers_schema(name);
        assert!(covers("app", "app") && covers("a%", "app") && covers("a_p", "app"));
        assert!(covers("%", "mysql") && covers("APP", "app"));
        assert!(!covers("a\\_p", "app") && covers("a\\_p", "a_p") && !covers("a", "app"));
        assert!(On::Everything.covers("a", "t"));
        assert!(!On::Table("a".into(), "t".into()).covers("a", "u"));
    }

    #[test]
    fn accounts_are_quoted() {
        assert_eq!(account("o'brien@%"), "'o''brien'@'%'");
        assert_eq!(account("writers"), "'writers'");
    }
}
