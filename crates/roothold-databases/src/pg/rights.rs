//! The questions about a role's rights, in SQL.
//!
//! Each has two parameters, the functions that are trusted and how many rows are wanted, and two
//! columns: what the role can do, and the SQL that takes it away. A right counts when any role has
//! it that ours is a member of, inherited or not.

/// One question.
pub(super) struct Check {
    /// Whether a source that is only read must not be used with it.
    pub(super) disables: bool,
    pub(super) sql: &'static str,
}

const fn disables(sql: &'static str) -> Check {
    Check { disables: true, sql }
}

const fn advice(sql: &'static str) -> Check {
    Check { disables: false, sql }
}

/// Everything that can be read outside of the catalogue, with its columns, and by which other roles that
/// the role could become: a statement may take one of them in its course.
pub(super) const READABLE: &str = "WITH me AS (SELECT oid, rolname FROM pg_catalog.pg_roles WHERE pg_catalog.pg_has_role(oid, 'MEMBER')) \
    SELECT n.nspname::text, c.relname::text, array_agg(a.attname::text ORDER BY a.attnum), \
      (SELECT coalesce(array_agg(me.rolname::text ORDER BY me.rolname), '{}') FROM me WHERE me.rolname <> current_user \
        AND pg_catalog.has_any_column_privilege(me.oid, c.oid, 'SELECT') \
        AND NOT (SELECT rolsuper FROM pg_catalog.pg_roles WHERE rolname = current_user)) \
    FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
    JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped \
    WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f') AND n.nspname <> 'information_schema' AND left(n.nspname, 3) <> 'pg_' \
      AND EXISTS (SELECT FROM me WHERE pg_catalog.has_schema_privilege(me.oid, n.oid, 'USAGE')) \
      AND EXISTS (SELECT FROM me WHERE pg_catalog.has_column_privilege(me.oid, c.oid, a.attnum, 'SELECT')) \
    GROUP BY n.nspname, c.relname, c.oid ORDER BY 1, 2 LIMIT 50000";

/// The tables and columns that views use, directly or through other views. Whoever reads a view reads
/// them with its owner's rights.
pub(super) const USED_BY_VIEWS: &str = "WITH RECURSIVE used AS ( \
      SELECT c.oid AS view, d.refobjid AS rel, d.refobjsubid AS att FROM pg_catalog.pg_class c \
        JOIN pg_catalog.pg_rewrite w ON w.ev_class = c.oid \
        JOIN pg_catalog.pg_depend d ON d.classid = 'pg_catalog.pg_rewrite'::regclass AND d.objid = w.oid \
          AND d.refclassid = 'pg_catalog.pg_class'::regclass AND d.refobjid <> c.oid \
        WHERE c.relkind IN ('v', 'm') \
      UNION SELECT u.view, d.refobjid, d.refobjsubid FROM used u \
        JOIN pg_catalog.pg_rewrite w ON w.ev_class = u.rel \
        JOIN pg_catalog.pg_depend d ON d.classid = 'pg_catalog.pg_rewrite'::regclass AND d.objid = w.oid \
          AND d.refclassid = 'pg_catalog.pg_class'::regclass AND d.refobjid <> u.rel) \
    SELECT vn.nspname::text, v.relname::text, tn.nspname::text, t.relname::text, \
      coalesce(array_agg(DISTINCT a.attname::text) FILTER (WHERE a.attname IS NOT NULL), '{}') \
    FROM used u JOIN pg_catalog.pg_class v ON v.oid = u.view JOIN pg_catalog.pg_namespace vn ON vn.oid = v.relnamespace \
    JOIN pg_catalog.pg_class t ON t.oid = u.rel JOIN pg_catalog.pg_namespace tn ON tn.oid = t.relnamespace \
    LEFT JOIN pg_catalog.pg_attribute a ON a.attrelid = u.rel AND a.attnum = u.att AND u.att > 0 \
    WHERE left(vn.nspname, 3) <> 'pg_' AND vn.nspname <> 'information_schema' \
    GROUP BY 1, 2, 3, 4 ORDER BY 1, 2, 3, 4 LIMIT 50000";

pub(super) const CHECKS: &[Check] = &[
    disables(LOGIN),
    disables(ATTRIBUTES),
    disables(MEMBERSHIPS),
    disables(TABLES),
    disables(OWNED),
    disables(SEQUENCES),
    disables(SCHEMAS),
    disables(DATABASE),
    disables(DEFINERS),
    disables(DANGEROUS),
    disables(ROW_SECURITY),
    disables(VIEWS_ON_SETTINGS),
    advice(TEMPORARY),
    advice(EVERYTHING),
    advice(OTHERS),
    advice(RUNNERS),
    advice(STATEMENTS),
];

const LOGIN: &str = "SELECT format('the login %I works as the role %I, and a statement can make it the login again', session_user, current_user), \
      format('ALTER ROLE %I RESET role; ALTER ROLE %I IN DATABASE %I RESET role;', session_user, session_user, current_database()) \
    WHERE session_user <> current_user AND $1::text[] IS NOT NULL LIMIT $2";

const ATTRIBUTES: &str = "SELECT 'the role ' || v.what, \
      format('ALTER ROLE %I %s;', current_user, v.mend) \
    FROM pg_catalog.pg_roles r, LATERAL (VALUES \
      (r.rolsuper, 'is a superuser: it reads and writes everything, files of the server too', 'NOSUPERUSER'), \
      (r.rolcreaterole, 'can make roles and give them rights', 'NOCREATEROLE'), \
      (r.rolcreatedb, 'can make databases', 'NOCREATEDB'), \
      (r.rolreplication, 'can replicate, which reads every table', 'NOREPLICATION'), \
      (r.rolbypassrls, 'is not bound by row security', 'NOBYPASSRLS')) v(has, what, mend) \
    WHERE r.rolname = current_user AND v.has AND $1::text[] IS NOT NULL LIMIT $2";

const MEMBERSHIPS: &str = "SELECT format('the role is a member of %I, which can %s', r.rolname, \
        CASE r.rolname WHEN 'pg_read_server_files' THEN 'read files of the server' \
          WHEN 'pg_write_server_files' THEN 'write files of the server' \
          WHEN 'pg_execute_server_program' THEN 'run programs on the server' \
          WHEN 'pg_write_all_data' THEN 'write every table' \
          WHEN 'pg_signal_backend' THEN 'end sessions of others' ELSE 'do more than read' END), \
      format('REVOKE %I FROM %I;', r.rolname, current_user) \
    FROM pg_catalog.pg_roles r \
    WHERE r.rolname <> current_user AND pg_catalog.pg_has_role(r.oid, 'MEMBER') \
      AND NOT (SELECT rolsuper FROM pg_catalog.pg_roles WHERE rolname = current_user) \
      AND (r.rolsuper OR r.rolcreaterole OR r.rolcreatedb OR r.rolreplication OR r.rolbypassrls \
        OR r.rolname IN ('pg_read_server_files', 'pg_write_server_files', 'pg_execute_server_program', \
          'pg_write_all_data', 'pg_signal_backend', 'pg_checkpoint', 'pg_maintain', \
          'pg_create_subscription', 'pg_use_reserved_connections')) \
      AND $1::text[] IS NOT NULL ORDER BY r.rolname LIMIT $2";

const TABLES: &str = "WITH me AS (SELECT oid FROM pg_catalog.pg_roles WHERE pg_catalog.pg_has_role(oid, 'MEMBER')) \
    SELECT format('the role can change %I.%I', n.nspname, c.relname), \
      format('REVOKE INSERT, UPDATE, DELETE, TRUNCATE, TRIGGER ON %I.%I FROM PUBLIC, %I;', \
        n.nspname, c.relname, current_user) \
    FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
    WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f') AND n.nspname <> 'information_schema' \
      AND NOT (n.nspname = 'pg_catalog' AND c.relname = 'pg_settings') AND n.nspname !~ '^pg_(temp|toast)' \
      AND EXISTS (SELECT FROM me WHERE \
        pg_catalog.has_table_privilege(me.oid, c.oid, 'INSERT, UPDATE, DELETE, TRUNCATE, TRIGGER') \
        OR pg_catalog.has_any_column_privilege(me.oid, c.oid, 'INSERT, UPDATE')) \
      AND $1::text[] IS NOT NULL ORDER BY n.nspname = 'pg_catalog', 1 LIMIT $2";

const OWNED: &str = "SELECT format('the role owns %s, so that it can change it and its rights', o.what), \
      format('ALTER %s OWNER TO <administrator>;', o.what) \
    FROM (SELECT format('%s %I.%I', CASE c.relkind WHEN 'S' THEN 'SEQUENCE' WHEN 'v' THEN 'VIEW' \
            WHEN 'm' THEN 'MATERIALIZED VIEW' WHEN 'f' THEN 'FOREIGN TABLE' ELSE 'TABLE' END, n.nspname, c.relname) AS what, \
          c.relowner AS owner FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
          WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S') AND n.nspname !~ '^pg_(temp|toast)' \
        UNION ALL SELECT format('SCHEMA %I', nspname), nspowner FROM pg_catalog.pg_namespace WHERE nspname !~ '^pg_(temp|toast)' \
        UNION ALL SELECT format('ROUTINE %I.%I(%s)', n.nspname, p.proname, pg_catalog.pg_get_function_identity_arguments(p.oid)), \
          p.proowner FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace \
        UNION ALL SELECT format('DATABASE %I', datname), datdba FROM pg_catalog.pg_database WHERE datname = current_database()) o \
    WHERE pg_catalog.pg_has_role(o.owner, 'MEMBER') AND $1::text[] IS NOT NULL \
      AND NOT (SELECT rolsuper FROM pg_catalog.pg_roles WHERE rolname = current_user) \
    ORDER BY 1 LIMIT $2";

const SEQUENCES: &str = "WITH me AS (SELECT oid FROM pg_catalog.pg_roles WHERE pg_catalog.pg_has_role(oid, 'MEMBER')) \
    SELECT format('the role can advance the sequence %I.%I', n.nspname, c.relname), \
      format('REVOKE USAGE, UPDATE ON SEQUENCE %I.%I FROM PUBLIC, %I;', n.nspname, c.relname, current_user) \
    FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
    WHERE c.relkind = 'S' AND EXISTS (SELECT FROM me WHERE \
      CASE WHEN c.relkind = 'S' THEN pg_catalog.has_sequence_privilege(me.oid, c.oid, 'USAGE, UPDATE') END) \
      AND $1::text[] IS NOT NULL ORDER BY 1 LIMIT $2";

const SCHEMAS: &str = "WITH me AS (SELECT oid FROM pg_catalog.pg_roles WHERE pg_catalog.pg_has_role(oid, 'MEMBER')) \
    SELECT format('the role can make tables and functions in the schema %I', n.nspname), \
      format('REVOKE CREATE ON SCHEMA %I FROM PUBLIC, %I;', n.nspname, current_user) \
    FROM pg_catalog.pg_namespace n WHERE n.nspname !~ '^pg_(temp|toast)' \
      AND EXISTS (SELECT FROM me WHERE pg_catalog.has_schema_privilege(me.oid, n.oid, 'CREATE')) \
      AND $1::text[] IS NOT NULL ORDER BY 1 LIMIT $2";

const DATABASE: &str = "WITH me AS (SELECT oid FROM pg_catalog.pg_roles WHERE pg_catalog.pg_has_role(oid, 'MEMBER')) \
    SELECT 'the role can make schemas in the database', \
      format('REVOKE CREATE ON DATABASE %I FROM PUBLIC, %I;', current_database(), current_user) \
    WHERE EXISTS (SELECT FROM me WHERE pg_catalog.has_database_privilege(me.oid, current_database(), 'CREATE')) \
      AND $1::text[] IS NOT NULL LIMIT $2";

const DEFINERS: &str = "WITH me AS (SELECT oid, rolname FROM pg_catalog.pg_roles WHERE pg_catalog.pg_has_role(oid, 'MEMBER')) \
    SELECT format('the role can run %s with the rights of its owner %I (SECURITY DEFINER)', \
        format('%I.%I(%s)', n.nspname, p.proname, pg_catalog.pg_get_function_identity_arguments(p.oid)), r.rolname), \
      CASE WHEN pg_catalog.has_function_privilege(p.oid, 'EXECUTE') \
        THEN format('REVOKE EXECUTE ON ROUTINE %s FROM PUBLIC, %I;', format('%I.%I(%s)', n.nspname, p.proname, pg_catalog.pg_get_function_identity_arguments(p.oid)), current_user) \
        ELSE (SELECT format('REVOKE %s FROM %I;', string_agg(quote_ident(me.rolname), ', '), current_user) \
          FROM me WHERE pg_catalog.has_function_privilege(me.oid, p.oid, 'EXECUTE')) END \
    FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace \
    JOIN pg_catalog.pg_roles r ON r.oid = p.proowner \
    WHERE p.prosecdef AND p.prorettype <> 'pg_catalog.trigger'::regtype \
      AND p.prorettype <> 'pg_catalog.event_trigger'::regtype \
      AND n.nspname || '.' || p.proname <> ALL ($1::text[]) \
      AND EXISTS (SELECT FROM me WHERE pg_catalog.has_schema_privilege(me.oid, n.oid, 'USAGE')) \
      AND EXISTS (SELECT FROM me WHERE pg_catalog.has_function_privilege(me.oid, p.oid, 'EXECUTE')) \
    ORDER BY 1 LIMIT $2";

/// What reads or writes the server's disk, talks to other servers, or changes the server.
const DANGEROUS: &str = "WITH me AS (SELECT oid, rolname FROM pg_catalog.pg_roles WHERE pg_catalog.pg_has_role(oid, 'MEMBER')) \
    SELECT format('the role can run %s, which %s', format('%I.%I(%s)', n.nspname, p.proname, pg_catalog.pg_get_function_identity_arguments(p.oid)), \
        CASE WHEN p.proname LIKE 'dblink%' THEN 'connects to other databases, past the read-only transaction' \
          WHEN NOT l.lanpltrusted AND l.lanname NOT IN ('internal', 'c') THEN 'is written in a language without bounds' \
          ELSE 'reaches the server''s disk or changes the server' END), \
      CASE WHEN pg_catalog.has_function_privilege(p.oid, 'EXECUTE') \
        THEN format('REVOKE EXECUTE ON ROUTINE %s FROM PUBLIC, %I;', format('%I.%I(%s)', n.nspname, p.proname, pg_catalog.pg_get_function_identity_arguments(p.oid)), current_user) \
        ELSE (SELECT format('REVOKE %s FROM %I;', string_agg(quote_ident(me.rolname), ', '), current_user) \
          FROM me WHERE pg_catalog.has_function_privilege(me.oid, p.oid, 'EXECUTE')) END \
    FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace \
    JOIN pg_catalog.pg_language l ON l.oid = p.prolang \
    WHERE (p.proname IN ('pg_read_file', 'pg_read_binary_file', 'pg_ls_dir', 'pg_ls_logdir', \
        'pg_ls_waldir', 'pg_ls_tmpdir', 'pg_ls_archive_statusdir', 'pg_ls_logicalmapdir', 'pg_ls_logicalsnapdir', \
        'pg_ls_replslotdir', 'pg_stat_file', 'lo_import', 'lo_export', 'pg_file_write', 'pg_file_read', \
        'pg_file_rename', 'pg_file_unlink', 'pg_file_sync', 'pg_logdir_ls', 'pg_reload_conf', 'pg_rotate_logfile', \
        'pg_logfile_rotate', 'pg_switch_wal', 'pg_create_restore_point', 'pg_backup_start', 'pg_backup_stop', \
        'pg_start_backup', 'pg_stop_backup', 'pg_promote', 'pg_wal_replay_pause', 'pg_wal_replay_resume', \
        'pg_stat_reset', 'pg_stat_reset_shared', 'pg_stat_reset_slru', 'pg_stat_reset_single_table_counters', \
        'pg_stat_reset_single_function_counters', 'pg_stat_reset_replication_slot', 'pg_stat_statements_reset', \
        'pg_replication_origin_create', 'pg_replication_origin_drop', 'pg_replication_origin_advance', \
        'pg_log_standby_snapshot', 'pg_hba_file_rules', 'pg_show_all_file_settings', 'pg_config', \
        'pg_background_launch', 'pg_execute_server_program', 'http', 'http_get', 'http_post', 'http_put', \
        'http_delete', 'http_patch', 'http_head') \
      OR p.proname LIKE 'dblink%' OR (NOT l.lanpltrusted AND l.lanname NOT IN ('internal', 'c'))) \
      AND p.proname NOT IN ('dblink_fdw_validator', 'dblink_pkey_results', 'dblink_get_pkey') \
      AND n.nspname || '.' || p.proname <> ALL ($1::text[]) \
      AND EXISTS (SELECT FROM me WHERE pg_catalog.has_schema_privilege(me.oid, n.oid, 'USAGE')) \
      AND EXISTS (SELECT FROM me WHERE pg_catalog.has_function_privilege(me.oid, p.oid, 'EXECUTE')) \
    ORDER BY 1 LIMIT $2";

/// Rows that depend on what a statement can set. A policy that calls a function of the database's own may
/// read a setting there.
const ROW_SECURITY: &str = "WITH me AS (SELECT oid FROM pg_catalog.pg_roles WHERE pg_catalog.pg_has_role(oid, 'MEMBER')) \
    SELECT format('the rows of %I.%I that the role sees may depend on a setting, which it can choose with set_config', \
        n.nspname, c.relname), \
      format('REVOKE EXECUTE ON FUNCTION pg_catalog.set_config(text, text, boolean) FROM PUBLIC, %I;', current_user) \
    FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
    WHERE c.relrowsecurity \
      AND EXISTS (SELECT FROM me WHERE pg_catalog.has_any_column_privilege(me.oid, c.oid, 'SELECT')) \
      AND EXISTS (SELECT FROM me WHERE pg_catalog.has_function_privilege(me.oid, 'pg_catalog.set_config(text, text, boolean)', 'EXECUTE')) \
      AND EXISTS (SELECT FROM pg_catalog.pg_policy p WHERE p.polrelid = c.oid \
        AND (pg_catalog.pg_get_expr(p.polqual, p.polrelid) LIKE '%current_setting%' \
          OR (SELECT count(*) FROM me) > 1 AND pg_catalog.pg_get_expr(p.polqual, p.polrelid) ~* 'current_user|current_role' \
          OR EXISTS (SELECT FROM pg_catalog.pg_depend d WHERE d.classid = 'pg_catalog.pg_policy'::regclass \
            AND d.objid = p.oid AND d.refclassid = 'pg_catalog.pg_proc'::regclass))) \
      AND $1::text[] IS NOT NULL ORDER BY 1 LIMIT $2";

/// Views whose rows depend on a setting, by themselves or by a function that they call.
const VIEWS_ON_SETTINGS: &str = "WITH me AS (SELECT oid FROM pg_catalog.pg_roles WHERE pg_catalog.pg_has_role(oid, 'MEMBER')) \
    SELECT format('the rows of the view %I.%I depend on a setting, which the role can choose with set_config', \
        n.nspname, c.relname), \
      format('REVOKE EXECUTE ON FUNCTION pg_catalog.set_config(text, text, boolean) FROM PUBLIC, %I;', current_user) \
    FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
    WHERE c.relkind = 'v' AND n.nspname NOT IN ('pg_catalog', 'information_schema') \
      AND EXISTS (SELECT FROM me WHERE pg_catalog.has_any_column_privilege(me.oid, c.oid, 'SELECT')) \
      AND EXISTS (SELECT FROM me WHERE pg_catalog.has_function_privilege(me.oid, 'pg_catalog.set_config(text, text, boolean)', 'EXECUTE')) \
      AND (pg_catalog.pg_get_viewdef(c.oid) LIKE '%current_setting%' \
        OR EXISTS (SELECT FROM pg_catalog.pg_rewrite w JOIN pg_catalog.pg_depend d \
            ON d.classid = 'pg_catalog.pg_rewrite'::regclass AND d.objid = w.oid AND d.refclassid = 'pg_catalog.pg_proc'::regclass \
          JOIN pg_catalog.pg_proc p ON p.oid = d.refobjid \
          WHERE w.ev_class = c.oid AND CASE WHEN p.prokind IN ('f', 'w') \
            THEN pg_catalog.pg_get_functiondef(p.oid) LIKE '%current_setting%' ELSE false END)) \
      AND $1::text[] IS NOT NULL ORDER BY 1 LIMIT $2";

const TEMPORARY: &str = "SELECT 'the role may make temporary tables; statements here cannot', \
      format('REVOKE TEMPORARY ON DATABASE %I FROM PUBLIC, %I;', current_database(), current_user) \
    WHERE pg_catalog.has_database_privilege(current_database(), 'TEMPORARY') AND $1::text[] IS NOT NULL LIMIT $2";

const EVERYTHING: &str = "SELECT format('the role is a member of %I, which reads more than tables that were granted', r.rolname), \
      format('REVOKE %I FROM %I;', r.rolname, current_user) \
    FROM pg_catalog.pg_roles r WHERE pg_catalog.pg_has_role(r.oid, 'MEMBER') \
      AND r.rolname IN ('pg_read_all_data', 'pg_monitor', 'pg_read_all_settings', 'pg_read_all_stats') \
      AND $1::text[] IS NOT NULL ORDER BY 1 LIMIT $2";

const OTHERS: &str = "WITH me AS (SELECT oid, rolname FROM pg_catalog.pg_roles WHERE pg_catalog.pg_has_role(oid, 'MEMBER')) \
    SELECT format('the role can run %s; %s', format('%I.%I(%s)', n.nspname, p.proname, pg_catalog.pg_get_function_identity_arguments(p.oid)), \
        CASE p.proname WHEN 'pg_logical_emit_message' THEN 'what it writes to the log of changes is not rolled back' \
          WHEN 'pg_terminate_backend' THEN 'with it one caller can end the sessions of others of this role' \
          WHEN 'pg_cancel_backend' THEN 'with it one caller can cancel statements of others of this role' \
          ELSE 'others may wait for its lock until the statement ends' END), \
      CASE WHEN pg_catalog.has_function_privilege(p.oid, 'EXECUTE') \
        THEN format('REVOKE EXECUTE ON ROUTINE %s FROM PUBLIC, %I;', format('%I.%I(%s)', n.nspname, p.proname, pg_catalog.pg_get_function_identity_arguments(p.oid)), current_user) \
        ELSE (SELECT format('REVOKE %s FROM %I;', string_agg(quote_ident(me.rolname), ', '), current_user) \
          FROM me WHERE pg_catalog.has_function_privilege(me.oid, p.oid, 'EXECUTE')) END \
    FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace \
    WHERE n.nspname = 'pg_catalog' AND p.proname IN ('pg_advisory_lock', 'pg_advisory_lock_shared', \
        'pg_logical_emit_message', 'pg_terminate_backend', 'pg_cancel_backend') \
      AND EXISTS (SELECT FROM me WHERE pg_catalog.has_function_privilege(me.oid, p.oid, 'EXECUTE')) AND $1::text[] IS NOT NULL \
    ORDER BY 1 LIMIT $2";

/// All of them in one row: they belong together.
const RUNNERS: &str = "WITH me AS (SELECT oid FROM pg_catalog.pg_roles WHERE pg_catalog.pg_has_role(oid, 'MEMBER')), \
    runs AS (SELECT p.proname::text AS name, format('%I.%I(%s)', n.nspname, p.proname, pg_catalog.pg_get_function_identity_arguments(p.oid)) AS whole \
      FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace \
      WHERE n.nspname = 'pg_catalog' AND (p.proname IN ('query_to_xml', 'query_to_xmlschema', 'query_to_xml_and_xmlschema', \
          'cursor_to_xml', 'table_to_xml', 'table_to_xml_and_xmlschema', 'schema_to_xml', 'schema_to_xml_and_xmlschema', \
          'database_to_xml', 'database_to_xml_and_xmlschema', 'ts_stat') \
          OR p.proname = 'ts_rewrite' AND p.pronargs = 2) \
        AND EXISTS (SELECT FROM me WHERE pg_catalog.has_function_privilege(me.oid, p.oid, 'EXECUTE'))) \
    SELECT format('the role can run %s, which run a text as a statement of its own: a limit on costs does not hold for it, and no log shows it', \
        string_agg(DISTINCT name, ', ')), \
      format('REVOKE EXECUTE ON FUNCTION %s FROM PUBLIC, %I;', string_agg(whole, ', ' ORDER BY whole), current_user) \
    FROM runs WHERE $1::text[] IS NOT NULL HAVING count(*) > 0 LIMIT $2";

/// The extension keeps texts of statements, those of cursors with their values, and shows each role its own.
const STATEMENTS: &str = "WITH me AS (SELECT oid FROM pg_catalog.pg_roles WHERE pg_catalog.pg_has_role(oid, 'MEMBER')) \
    SELECT format('the role reads %I.%I, which shows statements of this role with their values: whoever asks by it sees what others did', \
        n.nspname, c.relname), \
      format('REVOKE SELECT ON %I.%I FROM PUBLIC, %I;', n.nspname, c.relname, current_user) \
    FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
    WHERE c.relname IN ('pg_stat_statements', 'pg_stat_monitor') AND c.relkind IN ('v', 'r') \
      AND EXISTS (SELECT FROM me WHERE pg_catalog.has_any_column_privilege(me.oid, c.oid, 'SELECT')) \
      AND $1::text[] IS NOT NULL ORDER BY 1 LIMIT $2";
