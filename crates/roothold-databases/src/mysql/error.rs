//! What the server said, for agents and for the log: its code, never its words. These may quote
//! rows, literals, names that are not for callers, accounts and hosts.

use std::error::Error as StdError;

use mysql_async::{Error, ServerError};
use mysql_common::proto::codec::error::PacketCodecError;
use roothold_core::{Fault, FaultKind};

use super::prepare::Asked;
use crate::answer::too_large;
use crate::said::{self, ForLog, refused_credentials, unreachable};
use crate::sql::line_and_column;

/// The statement does not parse.
pub(super) const PARSE: u16 = 1064;
/// The prepared protocol does not take the statement.
pub(super) const NOT_PREPARED: u16 = 1295;
/// The words before and behind what the server quotes of a statement that does not parse.
const NEAR: (&str, &str) = (" near '", "' at line ");

/// One text for what would change something, for functions that are not there, and for those that the
/// role may not run.
const NO_CHANGE: &str = "the statement would change something, or calls a function that is not there or not for \
                         this source";

/// An error for the log.
fn for_log(error: &Error) -> String {
    match error {
        Error::Server(server) => code(server),
        // How the driver puts packets is not told: they may hold rows.
        Error::Driver(error) => error.to_string(),
        Error::Io(error) => error.to_string(),
        Error::Other(_) | Error::Url(_) => "the driver failed".to_owned(),
    }
}

fn code(error: &ServerError) -> String {
    format!("error {}, SQLSTATE {}", error.code, error.state)
}

/// Whether the connection was lost, rather than the statement refused.
pub(super) fn is_lost(error: &Error) -> bool {
    match error {
        // The server stops, or our session was ended.
        Error::Server(server) => matches!(
            server.code,
            1053 | 1077..=1080 | 1152 | 1158..=1161 | 1184 | 1927 | 3169 | 4031
        ),
        _ => true,
    }
}

/// The fault for an error of connecting, or of what a call begins with.
pub(super) fn of_connecting(error: &Error) -> Fault {
    match error {
        Error::Server(server) => {
            match server.code {
                1044 | 1045 | 1049 | 1130 | 1251 | 1275 | 1524 | 1698 | 1820 | 3118 | 4151
                | 4165 => refused_credentials(code(server)),
                1040 | 1203 | 1226 => Fault::new(FaultKind::Busy, said::NO_CONNECTION)
                    .with_source(ForLog(code(server))),
                _ => unreachable(code(server)),
            }
        }
        _ => unreachable(for_log(error)),
    }
}

fn is_too_large(error: &Error) -> bool {
    let mut cause = error.source();
    while let Some(next) = cause {
        let held = next.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
        let packet = held.and_then(|held| held.downcast_ref::<PacketCodecError>());
        if matches!(packet, Some(PacketCodecError::PacketTooLarge)) {
            return true;
        }
        cause = next.source();
    }
    false
}

/// The fault for what the server said of a statement, which may be that it sends more than the
/// `bytes_max` of an answer.
pub(super) fn fault(error: &Error, asked: Option<&Asked<'_>>, bytes_max: usize) -> Fault {
    let cause = ForLog(for_log(error));
    let Error::Server(server) = error else {
        if is_too_large(error) {
            return too_large(bytes_max);
        }
        return Fault::new(FaultKind::Unavailable, said::LOST).with_source(cause);
    };
    let (kind, words) = told(server);
    if words == said::NO_NAME || words == NO_CHANGE {
        // Which code it is would tell what is there and only not permitted.
        return Fault::new(kind, words).with_source(cause);
    }
    let place = asked
        .filter(|_| server.code == PARSE)
        .and_then(|asked| place(&server.message, asked))
        .map(|(line, column)| format!(", at line {line}, column {column}"))
        .unwrap_or_default();
    Fault::new(kind, format!("{words} (error {}{place})", server.code)).with_source(cause)
}

/// The kind, and the error in words of ours.
fn told(error: &ServerError) -> (FaultKind, &'static str) {
    use FaultKind::{Busy, Conflict, Denied, Invalid, Limit, Timeout, Unavailable};
    match error.code {
        PARSE => (Invalid, "the statement does not parse, or is not one that runs here"),
        NOT_PREPARED => (Invalid, "the database takes no statement of this kind here"),
        // To change what is there or not is refused alike.
        1142 if !error.message.starts_with("SELECT") => {
            (Denied, "the role of this source has no right to do this")
        }
        1046 => (Invalid, "the source names no database: write tables as database.table"),
        1044 | 1049 | 1051 | 1052 | 1054 | 1072 | 1109 | 1142 | 1143 | 1146 | 1176 | 1356
        | 1449 | 4091 => (Invalid, said::NO_NAME),
        // A function that would change something is refused before it is asked who may run it.
        1305 | 1370 | 1630 | 1792 | 1836 => (Denied, NO_CHANGE),
        1345 => (
            Invalid,
            "the database tells the plan of a view only to a role that may see its definition (SHOW VIEW)",
        ),
        1045 | 1227 | 1290 | 1419 | 1698 => {
            (Denied, "the role of this source has no right to do this")
        }
        1317 | 1969 | 3024 => (Timeout, said::TOO_LONG),
        1205 | 1213 | 1020 | 3572 => (Conflict, said::LOCKED),
        1040 | 1203 | 1226 => (Busy, said::NO_CONNECTION),
        1104 => (
            Limit,
            "the plan costs more than this source allows; filter more, join less, or use a column with an index",
        ),
        1038 | 1041 | 1114 | 1153 | 1301 | 1436 | 1437 | 1456 | 3636 | 4175 => {
            (Limit, "the database ran into a limit of its own; ask for less")
        }
        1060 => (Invalid, "two columns have the same name; give them aliases"),
        1066 => (Invalid, "two tables have the same name; give them aliases"),
        1055 | 1056 | 1111 | 1140 | 1463 | 4015..=4018 => {
            (Invalid, "columns and aggregates are mixed as they cannot be; look at GROUP BY")
        }
        1222 => (Invalid, "the parts of a UNION have different numbers of columns"),
        1241 => (Invalid, "an operand has another number of columns than it should"),
        1242 => (Invalid, "a subquery gives more than one row"),
        1248 => (Invalid, "each table that is a subquery needs an alias"),
        1267 | 1270 | 1271 => (Invalid, "texts of different collations are mixed; use COLLATE"),
        1582 | 1583 => (Invalid, "a function is given another number of arguments than it takes"),
        1058 | 1136 | 1353 => (Invalid, "there are more or fewer values than columns"),
        1364 => (Invalid, "a column that has no default is given no value"),
        1093 => (Invalid, "a table that is changed cannot be read in the same statement"),
        1048 | 1062 | 1169 | 1216 | 1217 | 1451 | 1452 | 1557 | 1586 | 3819 | 4025 => {
            (Invalid, said::CONSTRAINT)
        }
        1644 | 1105 => (Invalid, said::RAISED),
        1021 | 1026..=1030 | 1034..=1037 | 1053 | 1194 | 1927 => (Unavailable, said::OWN_CONDITION),
        1210 => (Invalid, "the values do not fit the places of the statement"),
        _ if error.state.starts_with("22") || matches!(error.code, 1366 | 1411 | 1690) => {
            (Invalid, said::NO_VALUE)
        }
        _ if error.state.starts_with("23") => (Invalid, said::CONSTRAINT),
        _ => (Invalid, "the database refuses the statement"),
    }
}

/// Where in the caller's text it stops to parse: the server quotes what stands there, and on which
/// line.
fn place(message: &str, asked: &Asked<'_>) -> Option<(usize, usize)> {
    let from = message.find(NEAR.0)? + NEAR.0.len();
    let to = message.rfind(NEAR.1)?;
    let line: usize = message.get(to + NEAR.1.len()..)?.parse().ok()?;
    let (near, sent) = (message.get(from..to)?, asked.sent());
    let at = if sent.ends_with(near) {
        sent.len() - near.len()
    } else {
        let on_line = |at: &usize| line_and_column(sent, *at).is_some_and(|(on, _)| on == line);
        sent.match_indices(near).map(|(at, _)| at).find(on_line)?
    };
    asked.place(at)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::answer::Statement;

    fn server(code: u16, message: &str) -> Error {
        Error::Server(ServerError { code, message: message.to_owned(), state: "42000".to_owned() })
    }

    #[test]
    fn no_word_of_the_server_is_passed_on() {
        let said: Vec<String> = (1_000..4_200)
            .map(|code| {
                let fault = fault(&server(code, "SELECT CANARY near 'CANARY' at line 1"), None, 9);
                let cause = StdError::source(&fault).map(ToString::to_string).unwrap_or_default();
                format!("{} {cause}", fault.public())
            })
            .collect();
        assert!(said.iter().all(|text| !text.contains("CANARY") && text.contains("error ")));
    }

    #[test]
    fn the_place_is_that_of_the_caller_s_text() {
        let statement = Statement::new("SELECT ?2,\n  'é' FORM t WHERE a = ?1");
        let asked = Asked::of(&statement, &["select"]).unwrap();
        let said = |near: &str, line| {
            let message = format!("You have an error … to use near '{near}' at line {line}");
            fault(&server(PARSE, &message), Some(&asked), 9).public().to_owned()
        };
        assert!(said("FORM t WHERE a = ?", 2).contains("at line 2, column 7"));
        assert!(said("WHERE", 2).contains("at line 2, column 14"));
        assert!(said("", 2).contains("at line 2, column 26"));
        assert!(!said("nothing like it", 1).contains("line"));
    }
}
