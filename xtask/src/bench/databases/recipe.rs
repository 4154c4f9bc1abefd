//! The statements that a query over PostgreSQL is, as the server sends them: for whom it is
//! compared with. That they are the same is checked by `watched`.

/// The transaction's beginning, in one message.
pub(super) const BEGIN: &str = "BEGIN READ ONLY; SET LOCAL client_connection_check_interval TO 250; \
    SET LOCAL statement_timeout TO 30500; SET LOCAL lock_timeout TO 3000; \
    SET LOCAL idle_in_transaction_session_timeout TO 30500; SET LOCAL client_min_messages TO error; \
    SET LOCAL datestyle TO 'ISO'; SET LOCAL intervalstyle TO 'iso_8601'; SET LOCAL bytea_output TO 'hex'; \
    SET LOCAL extra_float_digits TO 1; SET LOCAL cursor_tuple_fraction TO 1; \
    SET LOCAL standard_conforming_strings TO on; SELECT 1";
/// What stands before the question.
pub(super) const DECLARE: &str = "DECLARE roothold NO SCROLL CURSOR FOR ";
/// Asks for the types of the columns.
pub(super) const DESCRIBE: &str = "FETCH FORWARD 0 FROM roothold";
/// Asks for the rows.
pub(super) const FETCH: &str = "FETCH FORWARD 500 FROM roothold";
/// Ends the transaction.
pub(super) const ROLLBACK: &str = "ROLLBACK";
/// Makes the session as new.
pub(super) const DISCARD: &str = "DISCARD ALL";
