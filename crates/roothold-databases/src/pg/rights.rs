//! The questions about a role's rights, in SQL.
//!
//! Each has two parameters, the functions that are trusted and how many rows are wanted, and two
//! columns: what the role can do, and the SQL that takes it away. A right counts when any role has
//! it that the session's user can become: that logs in, that acts, and that either is a member of,
//! inherited or not. A statement may become it with `set_config`.

/// When a source that is only read must not be used with what a question finds.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Disables {
    Always,
    /// Where `cost_max` is set.
    WithCost,
    Never,
}

/// One question.
pub(super) struct Check {
    pub(super) disables: Disables,
    pub(super) sql: &'static str,
}

const fn disables(sql: &'static str) -> Check {
    Check { disables: Disables::Always, sql }
}

const fn advice(sql: &'static str) -> Check {
    Check { disables: Disables::Never, sql }
}

/// A question that begins with `me`, every role that the session's user can become.
macro_rules! of_me {
    ($($sql:expr),+) => {
        concat!(
            "WITH RECURSIVE me AS (SELECT oid, rolname FROM pg_catalog.pg_roles \
              WHERE pg_catalog.pg_has_role(session_user, oid, 'MEMBER') \
                OR pg_catalog.pg_has_role(current_user, oid, 'MEMBER')) ",
            $($sql),+
        )
    };
}

/// Everything that can be read outside of the catalogue, with its columns, and the roles that ours is a
/// member of with a right of their own to it.
pub(super) const READABLE: &str = of_me!(
    "SELECT n.nspname::text, c.relname::text, seen.names, \
      ARRAY(SELECT me.rolname::text FROM me WHERE me.rolname <> current_user AND ( \
        c.relowner = me.oid OR me.rolname = 'pg_read_all_data' \
        OR EXISTS (SELECT FROM pg_catalog.aclexplode(c.relacl) x WHERE x.grantee = me.oid AND x.privilege_type = 'SELECT') \
        OR EXISTS (SELECT FROM pg_catalog.pg_attribute b, pg_catalog.aclexplode(b.attacl) x \
          WHERE b.attrelid = c.oid AND x.grantee = me.oid AND x.privilege_type = 'SELECT')) ORDER BY 1 LIMIT 20) \
    FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace, \
    LATERAL (SELECT array_agg(a.attname::text ORDER BY a.attnum) AS names FROM pg_catalog.pg_attribute a \
      WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped \
        AND EXISTS (SELECT FROM me WHERE pg_catalog.has_schema_privilege(me.oid, n.oid, 'USAGE') \
          AND pg_catalog.has_column_privilege(me.oid, c.oid, a.attnum, 'SELECT'))) seen \
    WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f') AND n.nspname <> 'information_schema' \
      AND left(n.nspname, 3) <> 'pg_' AND seen.names IS NOT NULL \
    ORDER BY 1, 2 LIMIT 50000"
);

/// What shows the columns of another table: views of it, views of these, and parts of it that can be read by
/// themselves. A view may show a whole row, of which the catalogue tells no column.
pub(super) const SHOWING: &str = of_me!(
    ", direct AS ( \
      SELECT r.ev_class AS shows, d.refobjid AS rel, d.refobjsubid AS col, \
        r.ev_action::text LIKE '%:varattno 0 %' AS whole \
      FROM pg_catalog.pg_rewrite r JOIN pg_catalog.pg_class v ON v.oid = r.ev_class AND v.relkind IN ('v', 'm') \
      JOIN pg_catalog.pg_depend d ON d.classid = 'pg_catalog.pg_rewrite'::regclass AND d.objid = r.oid \
        AND d.refclassid = 'pg_catalog.pg_class'::regclass AND d.refobjid <> r.ev_class \
      UNION ALL SELECT i.inhrelid, i.inhparent, p.attnum, false FROM pg_catalog.pg_inherits i \
      JOIN pg_catalog.pg_attribute p ON p.attrelid = i.inhparent AND p.attnum > 0 AND NOT p.attisdropped \
      JOIN pg_catalog.pg_attribute a ON a.attrelid = i.inhrelid AND a.attname = p.attname \
      WHERE EXISTS (SELECT FROM me WHERE pg_catalog.has_column_privilege(me.oid, i.inhrelid, a.attnum, 'SELECT'))), \
    reach AS (SELECT * FROM direct \
      UNION SELECT reach.shows, d.rel, d.col, d.whole FROM reach JOIN direct d ON d.shows = reach.rel) \
    SELECT vn.nspname::text, v.relname::text, n.nspname::text, c.relname::text, \
      array_agg(DISTINCT a.attname::text) \
    FROM reach JOIN pg_catalog.pg_class v ON v.oid = reach.shows JOIN pg_catalog.pg_namespace vn ON vn.oid = v.relnamespace \
    JOIN pg_catalog.pg_class c ON c.oid = reach.rel JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
    LEFT JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped \
      AND (reach.whole OR a.attnum = reach.col) \
    WHERE left(vn.nspname, 3) <> 'pg_' AND vn.nspname <> 'information_schema' \
      AND EXISTS (SELECT FROM me WHERE pg_catalog.has_schema_privilege(me.oid, vn.oid, 'USAGE') \
        AND pg_catalog.has_any_column_privilege(me.oid, v.oid, 'SELECT')) \
    GROUP BY 1, 2, 3, 4 ORDER BY 1, 2, 3, 4 LIMIT 50000"
);

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
    Check { disables: Disables::WithCost, sql: RUNNING },
    advice(STATEMENTS),
    advice(TEMPORARY),
    advice(EVERYTHING),
    advice(OTHERS),
];

/// Who logs in is not who acts: a statement may go back.
const LOGIN: &str = "SELECT format('the connection logs in as %I and becomes %I, which a statement can undo', session_user, current_user), \
      format('ALTER ROLE %1$I RESET role; ALTER ROLE %1$I IN DATABASE %2$I RESET role;', session_user, current_database()) \
    WHERE session_user <> current_user AND $1::text[] IS NOT NULL LIMIT $2";

const ATTRIBUTES: &str = "SELECT 'the role ' || v.what, \
      format('ALTER ROLE %I %s;', r.rolname, v.mend) \
    FROM pg_catalog.pg_roles r, LATERAL (VALUES \
      (r.rolsuper, 'is a superuser: it reads and writes everything, files of the server too', 'NOSUPERUSER'), \
      (r.rolcreaterole, 'can make roles and give them rights', 'NOCREATEROLE'), \
      (r.rolcreatedb, 'can make databases', 'NOCREATEDB'), \
      (r.rolreplication, 'can replicate, which reads every table', 'NOREPLICATION'), \
      (r.rolbypassrls, 'is not bound by row security', 'NOBYPASSRLS')) v(has, what, mend) \
    WHERE r.rolname IN (session_user, current_user) AND v.has AND $1::text[] IS NOT NULL LIMIT $2";

const MEMBERSHIPS: &str = of_me!(
    "SELECT format('the role is a member of %I, which can %s', r.rolname, \
        CASE r.rolname WHEN 'pg_read_server_files' THEN 'read files of the server' \
          WHEN 'pg_write_server_files' THEN 'write files of the server' \
          WHEN 'pg_execute_server_program' THEN 'run programs on the server' \
          WHEN 'pg_write_all_data' THEN 'write every table' \
          WHEN 'pg_signal_backend' THEN 'end sessions of others' ELSE 'do more than read' END), \
      format('REVOKE %I FROM %I;', r.rolname, current_user) \
    FROM pg_catalog.pg_roles r \
    WHERE r.rolname NOT IN (session_user, current_user) AND r.oid IN (SELECT oid FROM me) \
      AND NOT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolsuper AND rolname IN (session_user, current_user)) \
      AND (r.rolsuper OR r.rolcreaterole OR r.rolcreatedb OR r.rolreplication OR r.rolbypassrls \
        OR r.rolname IN ('pg_read_server_files', 'pg_write_server_files', 'pg_execute_server_program', \
          'pg_write_all_data', 'pg_signal_backend', 'pg_checkpoint', 'pg_maintain', \
          'pg_create_subscription', 'pg_use_reserved_connections')) \
      AND $1::text[] IS NOT NULL ORDER BY r.rolname LIMIT $2"
);

const TABLES: &str = of_me!(
    "SELECT format('the role can change %I.%I', n.nspname, c.relname), \
      format('REVOKE INSERT, UPDATE, DELETE, TRUNCATE, TRIGGER ON %I.%I FROM PUBLIC, %I;', \
        n.nspname, c.relname, current_user) \
    FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
    WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f') AND n.nspname <> 'information_schema' \
      AND NOT (n.nspname = 'pg_catalog' AND c.relname = 'pg_settings') AND n.nspname !~ '^pg_(temp|toast)' \
      AND EXISTS (SELECT FROM me WHERE \
        pg_catalog.has_table_privilege(me.oid, c.oid, 'INSERT, UPDATE, DELETE, TRUNCATE, TRIGGER') \
        OR pg_catalog.has_any_column_privilege(me.oid, c.oid, 'INSERT, UPDATE')) \
      AND $1::text[] IS NOT NULL ORDER BY n.nspname = 'pg_catalog', 1 LIMIT $2"
);

const OWNED: &str = of_me!(
    "SELECT format('the role owns %s, so that it can change it and its rights', o.what), \
      format('ALTER %s OWNER TO <administrator>;', o.what) \
    FROM (SELECT format('%s %I.%I', CASE c.relkind WHEN 'S' THEN 'SEQUENCE' WHEN 'v' THEN 'VIEW' \
            WHEN 'm' THEN 'MATERIALIZED VIEW' WHEN 'f' THEN 'FOREIGN TABLE' ELSE 'TABLE' END, n.nspname, c.relname) AS what, \
          c.relowner AS owner FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
          WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S') AND n.nspname !~ '^pg_(temp|toast)' \
        UNION ALL SELECT format('SCHEMA %I', nspname), nspowner FROM pg_catalog.pg_namespace WHERE nspname !~ '^pg_(temp|toast)' \
        UNION ALL SELECT format('ROUTINE %I.%I(%s)', n.nspname, p.proname, pg_catalog.pg_get_function_identity_arguments(p.oid)), \
          p.proowner FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace \
        UNION ALL SELECT format('DATABASE %I', datname), datdba FROM pg_catalog.pg_database WHERE datname = current_database()) o \
    WHERE o.owner IN (SELECT oid FROM me) AND $1::text[] IS NOT NULL \
      AND NOT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolsuper AND rolname IN (session_user, current_user)) \
    ORDER BY 1 LIMIT $2"
);

const SEQUENCES: &str = of_me!(
    "SELECT format('the role can advance the sequence %I.%I', n.nspname, c.relname), \
      format('REVOKE USAGE, UPDATE ON SEQUENCE %I.%I FROM PUBLIC, %I;', n.nspname, c.relname, current_user) \
    FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
    WHERE c.relkind = 'S' AND EXISTS (SELECT FROM me WHERE \
      CASE WHEN c.relkind = 'S' THEN pg_catalog.has_sequence_privilege(me.oid, c.oid, 'USAGE, UPDATE') END) \
      AND $1::text[] IS NOT NULL ORDER BY 1 LIMIT $2"
);

const SCHEMAS: &str = of_me!(
    "SELECT format('the role can make tables and functions in the schema %I', n.nspname), \
      format('REVOKE CREATE ON SCHEMA %I FROM PUBLIC, %I;', n.nspname, current_user) \
    FROM pg_catalog.pg_namespace n WHERE n.nspname !~ '^pg_(temp|toast)' \
      AND EXISTS (SELECT FROM me WHERE pg_catalog.has_schema_privilege(me.oid, n.oid, 'CREATE')) \
      AND $1::text[] IS NOT NULL ORDER BY 1 LIMIT $2"
);

const DATABASE: &str = of_me!(
    "SELECT 'the role can make schemas in the database', \
      format('REVOKE CREATE ON DATABASE %I FROM PUBLIC, %I;', current_database(), current_user) \
    WHERE EXISTS (SELECT FROM me WHERE pg_catalog.has_database_privilege(me.oid, current_database(), 'CREATE')) \
      AND $1::text[] IS NOT NULL LIMIT $2"
);

const DEFINERS: &str = of_me!(
    "SELECT format('the role can run %s with the rights of its owner %I (SECURITY DEFINER)', \
        format('%I.%I(%s)', n.nspname, p.proname, pg_catalog.pg_get_function_identity_arguments(p.oid)), r.rolname), \
      format('REVOKE EXECUTE ON ROUTINE %s FROM PUBLIC, %I;', format('%I.%I(%s)', n.nspname, p.proname, pg_catalog.pg_get_function_identity_arguments(p.oid)), current_user) \
    FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace \
    JOIN pg_catalog.pg_roles r ON r.oid = p.proowner \
    WHERE p.prosecdef AND p.prorettype <> 'pg_catalog.trigger'::regtype \
      AND p.prorettype <> 'pg_catalog.event_trigger'::regtype \
      AND n.nspname || '.' || p.proname <> ALL ($1::text[]) \
      AND EXISTS (SELECT FROM me WHERE pg_catalog.has_schema_privilege(me.oid, n.oid, 'USAGE') \
        AND pg_catalog.has_function_privilege(me.oid, p.oid, 'EXECUTE')) \
    ORDER BY 1 LIMIT $2"
);

/// What reads or writes the server's disk, talks to other servers, or changes the server.
const DANGEROUS: &str = of_me!(
    "SELECT format('the role can run %s, which %s', format('%I.%I(%s)', n.nspname, p.proname, pg_catalog.pg_get_function_identity_arguments(p.oid)), \
        CASE WHEN p.proname LIKE 'dblink%' THEN 'connects to other databases, past the read-only transaction' \
          WHEN NOT l.lanpltrusted AND l.lanname NOT IN ('internal', 'c') THEN 'is written in a language without bounds' \
          ELSE 'reaches the server''s disk or changes the server' END), \
      format('REVOKE EXECUTE ON ROUTINE %s FROM PUBLIC, %I;', format('%I.%I(%s)', n.nspname, p.proname, pg_catalog.pg_get_function_identity_arguments(p.oid)), current_user) \
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
      AND EXISTS (SELECT FROM me WHERE pg_catalog.has_schema_privilege(me.oid, n.oid, 'USAGE') \
        AND pg_catalog.has_function_privilege(me.oid, p.oid, 'EXECUTE')) \
    ORDER BY 1 LIMIT $2"
);

/// Where `set_config` chooses which rows are seen: in policies and views, and in what they are made of, a
/// setting is read, or a function of the database's own is run, and there is one that reads settings.
const ROW_SECURITY: &str = of_me!(
    ", \
    routines AS (SELECT EXISTS (SELECT FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace \
      WHERE n.nspname NOT IN ('pg_catalog', 'information_schema') AND p.prokind IN ('f', 'p') \
        AND CASE p.prosrc WHEN '' THEN pg_catalog.pg_get_functiondef(p.oid) ELSE p.prosrc END \
          ~* '(current_setting|pg_settings|\\mshow\\M)') AS read), \
    rules AS (SELECT p.polrelid AS rel, 'pg_catalog.pg_policy'::regclass AS kind, p.oid \
        FROM pg_catalog.pg_policy p JOIN pg_catalog.pg_class c ON c.oid = p.polrelid AND c.relrowsecurity \
      UNION ALL SELECT r.ev_class, 'pg_catalog.pg_rewrite'::regclass, r.oid \
        FROM pg_catalog.pg_rewrite r JOIN pg_catalog.pg_class c ON c.oid = r.ev_class AND c.relkind = 'v' \
        WHERE c.oid >= 16384), \
    reach AS (SELECT c.oid AS root, c.oid AS rel FROM pg_catalog.pg_class c \
      JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
      WHERE c.relkind IN ('r', 'p', 'v', 'f') AND left(n.nspname, 3) <> 'pg_' AND n.nspname <> 'information_schema' \
        AND EXISTS (SELECT FROM me WHERE pg_catalog.has_schema_privilege(me.oid, n.oid, 'USAGE') \
          AND pg_catalog.has_any_column_privilege(me.oid, c.oid, 'SELECT')) \
      UNION SELECT reach.root, d.refobjid FROM reach JOIN rules ON rules.rel = reach.rel \
        JOIN pg_catalog.pg_depend d ON d.classid = rules.kind AND d.objid = rules.oid \
          AND d.refclassid = 'pg_catalog.pg_class'::regclass), \
    told AS (SELECT DISTINCT rules.rel FROM rules, routines WHERE rules.rel IN (SELECT rel FROM reach) \
      AND (routines.read AND EXISTS (SELECT FROM pg_catalog.pg_depend d WHERE d.classid = rules.kind AND d.objid = rules.oid \
          AND d.refclassid IN ('pg_catalog.pg_proc'::regclass, 'pg_catalog.pg_operator'::regclass)) \
        OR CASE WHEN rules.kind = 'pg_catalog.pg_rewrite'::regclass THEN pg_catalog.pg_get_viewdef(rules.rel) \
          ELSE (SELECT pg_catalog.pg_get_expr(p.polqual, p.polrelid) FROM pg_catalog.pg_policy p WHERE p.oid = rules.oid) END \
          ~ '(current_setting|pg_settings)')) \
    SELECT DISTINCT format('the rows of %I.%I that the role sees depend on a setting, which it can choose with set_config', \
        n.nspname, c.relname), \
      format('REVOKE EXECUTE ON FUNCTION pg_catalog.set_config(text, text, boolean) FROM PUBLIC, %I;', current_user) \
    FROM reach JOIN told ON told.rel = reach.rel JOIN pg_catalog.pg_class c ON c.oid = reach.root \
    JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
    WHERE EXISTS (SELECT FROM me WHERE \
        pg_catalog.has_function_privilege(me.oid, 'pg_catalog.set_config(text, text, boolean)', 'EXECUTE')) \
      AND $1::text[] IS NOT NULL ORDER BY 1 LIMIT $2"
);

const TEMPORARY: &str = of_me!(
    "SELECT 'the role may make temporary tables; statements here cannot', \
      format('REVOKE TEMPORARY ON DATABASE %I FROM PUBLIC, %I;', current_database(), current_user) \
    WHERE EXISTS (SELECT FROM me WHERE pg_catalog.has_database_privilege(me.oid, current_database(), 'TEMPORARY')) AND $1::text[] IS NOT NULL LIMIT $2"
);

const EVERYTHING: &str = of_me!(
    "SELECT format('the role is a member of %I, which reads more than tables that were granted', r.rolname), \
      format('REVOKE %I FROM %I;', r.rolname, current_user) \
    FROM pg_catalog.pg_roles r WHERE r.oid IN (SELECT oid FROM me) \
      AND r.rolname IN ('pg_read_all_data', 'pg_monitor', 'pg_read_all_settings', 'pg_read_all_stats') \
      AND $1::text[] IS NOT NULL ORDER BY 1 LIMIT $2"
);

const OTHERS: &str = of_me!(
    "SELECT format('the role can run %s; %s', format('%I.%I(%s)', n.nspname, p.proname, pg_catalog.pg_get_function_identity_arguments(p.oid)), \
        CASE WHEN p.proname = 'pg_logical_emit_message' THEN 'what it writes to the log of changes is not rolled back' \
          WHEN p.proname ~ '^lo' THEN 'before version 16 it writes large objects also in a transaction that only reads, and their room on the disk is not given back' \
          WHEN p.proname = 'pg_terminate_backend' THEN 'with it one caller can end the sessions of others of this role' \
          WHEN p.proname = 'pg_cancel_backend' THEN 'with it one caller can cancel statements of others of this role' \
          WHEN p.proname = 'set_config' THEN 'with it a statement chooses settings that stand above those of the role, such as work_mem' \
          ELSE 'others may wait for its lock until the statement ends' END), \
      format('REVOKE EXECUTE ON ROUTINE %s FROM PUBLIC, %I;', format('%I.%I(%s)', n.nspname, p.proname, pg_catalog.pg_get_function_identity_arguments(p.oid)), current_user) \
    FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace \
    WHERE n.nspname = 'pg_catalog' AND (p.proname IN ('pg_advisory_lock', 'pg_advisory_lock_shared', 'set_config', \
        'pg_logical_emit_message', 'pg_terminate_backend', 'pg_cancel_backend') \
        OR p.proname IN ('lo_create', 'lo_creat', 'lo_from_bytea', 'lo_put', 'lo_open', 'lowrite', 'lo_truncate', 'lo_truncate64') \
          AND current_setting('server_version_num')::int < 160000) \
      AND EXISTS (SELECT FROM me WHERE pg_catalog.has_function_privilege(me.oid, p.oid, 'EXECUTE')) AND $1::text[] IS NOT NULL \
    ORDER BY 1 LIMIT $2"
);

/// What runs a statement that is given as a text: the plan of the statement around it does not hold its cost.
const RUNNING: &str = of_me!(
    "SELECT format('the role can run %s, which runs a statement of its own: neither cost_max nor the audit log sees it', \
        format('%I.%I(%s)', n.nspname, p.proname, pg_catalog.pg_get_function_identity_arguments(p.oid))), \
      format('REVOKE EXECUTE ON ROUTINE %s FROM PUBLIC, %I;', format('%I.%I(%s)', n.nspname, p.proname, pg_catalog.pg_get_function_identity_arguments(p.oid)), current_user) \
    FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace \
    WHERE (n.nspname = 'pg_catalog' AND (p.proname IN ('query_to_xml', 'query_to_xmlschema', 'query_to_xml_and_xmlschema', \
          'table_to_xml', 'table_to_xml_and_xmlschema', 'schema_to_xml', 'schema_to_xml_and_xmlschema', \
          'database_to_xml', 'database_to_xml_and_xmlschema', 'ts_stat') \
        OR p.proname = 'ts_rewrite' AND p.pronargs = 2) \
      OR p.proname IN ('crosstab', 'crosstab2', 'crosstab3', 'crosstab4', 'crosstabn', 'connectby', 'xpath_table')) \
      AND EXISTS (SELECT FROM me WHERE pg_catalog.has_schema_privilege(me.oid, n.oid, 'USAGE') \
        AND pg_catalog.has_function_privilege(me.oid, p.oid, 'EXECUTE')) AND $1::text[] IS NOT NULL \
    ORDER BY 1 LIMIT $2"
);

/// Before version 17 the extension keeps statements under a cursor with their literals.
const STATEMENTS: &str = of_me!(
    "SELECT format('the role can read %I.%I, where statements of all callers stand, with their values', n.nspname, c.relname), \
      format('REVOKE SELECT ON %I.%I FROM PUBLIC, %I;', n.nspname, c.relname, current_user) \
    FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
    WHERE c.relname = 'pg_stat_statements' AND c.relkind = 'v' \
      AND EXISTS (SELECT FROM me WHERE pg_catalog.has_schema_privilege(me.oid, n.oid, 'USAGE') \
        AND pg_catalog.has_any_column_privilege(me.oid, c.oid, 'SELECT')) \
      AND current_setting('pg_stat_statements.track_utility', true) IS DISTINCT FROM 'off' \
      AND $1::text[] IS NOT NULL ORDER BY 1 LIMIT $2"
);
