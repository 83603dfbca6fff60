#!/bin/sh
# Create the roles of the database: who builds, and who may look.
#
#   PIPELINE_USER  creates schemas in its database, owns what is in them, and can do nothing else
#   bi_reader      reads the marts of prod, and nothing else
#   analyst        reads the marts of prod and of other environments, such as dev
#
# The container of docker-compose.yml runs this once, on its first start. On a server of your own,
# run it as a superuser:
#
#   export PGHOST=... PGPORT=5432 PGPASSWORD=... POSTGRES_USER=postgres
#   createdb --username postgres pipedrive
#   PIPELINE_USER=pipedrive PIPELINE_PASSWORD=... BI_READER_PASSWORD=... ANALYST_PASSWORD=... \
#     POSTGRES_DB=pipedrive sh docker/create_roles.sh
#
# Running it again is harmless, sets the passwords anew and repairs rights. A reader without a
# password in the environment keeps the one it has; a new one cannot log in with a password.
set -eu
: "${PIPELINE_PASSWORD:?}"
BI_READER_PASSWORD=${BI_READER_PASSWORD:-} ANALYST_PASSWORD=${ANALYST_PASSWORD:-}
export BI_READER_PASSWORD ANALYST_PASSWORD

psql --no-psqlrc --quiet --set ON_ERROR_STOP=1 \
  --username "${POSTGRES_USER:-postgres}" --dbname "$POSTGRES_DB" \
  --set pipeline="${PIPELINE_USER:?}" <<'SQL'
\getenv pipeline_password PIPELINE_PASSWORD
\getenv bi_reader_password BI_READER_PASSWORD
\getenv analyst_password ANALYST_PASSWORD

-- A superuser of that name is somebody else's role: leave it as it is
SELECT EXISTS (
  SELECT 1 FROM pg_roles WHERE rolname IN (:'pipeline', 'bi_reader', 'analyst') AND rolsuper
) AS is_superuser \gset
\if :is_superuser
  DO $$ BEGIN RAISE EXCEPTION 'PIPELINE_USER is a superuser: choose another name (or bi_reader or analyst is one)'; END $$;
\endif

BEGIN;

SELECT FORMAT('CREATE ROLE %I', name)
FROM (VALUES (:'pipeline'), ('bi_reader'), ('analyst')) AS roles (name)
WHERE NOT EXISTS (SELECT 1 FROM pg_roles WHERE rolname = name) \gexec

SELECT FORMAT('ALTER ROLE %I LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE', name)
FROM (VALUES (:'pipeline'), ('bi_reader'), ('analyst')) AS roles (name) \gexec
SELECT FORMAT('ALTER ROLE %I PASSWORD %L', name, password)
FROM (
  VALUES
    (:'pipeline', :'pipeline_password'),
    ('bi_reader', :'bi_reader_password'),
    ('analyst', :'analyst_password')
) AS roles (name, password)
WHERE password <> '' \gexec

SELECT FORMAT('ALTER ROLE %I SET %s', name, setting)
FROM (VALUES (:'pipeline'), ('bi_reader'), ('analyst')) AS roles (name)
CROSS JOIN (VALUES
  ('TimeZone TO ''UTC''', FALSE),
  -- On disks without moving parts the rows of a deal are cheaper by index than by a whole table
  ('random_page_cost TO 1.1', FALSE),
  ('search_path TO pipedrive_analytics, public', TRUE),
  ('default_transaction_read_only TO on', TRUE),
  -- Whoever reads in an open transaction holds up a promotion, and all who read that view
  ('idle_in_transaction_session_timeout TO ''5s''', TRUE),
  ('statement_timeout TO ''60s''', TRUE)
) AS settings (setting, of_readers)
WHERE NOT of_readers OR name <> :'pipeline' \gexec

-- Nobody else connects, and a reader makes nothing, be it temporary tables or large objects, nor
-- takes the lock that lets one plan or run write at a time
REVOKE CONNECT, TEMPORARY ON DATABASE :"DBNAME" FROM PUBLIC;
REVOKE CREATE ON SCHEMA public FROM PUBLIC;
SELECT FORMAT('REVOKE EXECUTE ON FUNCTION %s FROM PUBLIC', oid::REGPROCEDURE)
FROM pg_proc
WHERE pronamespace = 'pg_catalog'::REGNAMESPACE
  AND (proname LIKE '%advisory%' OR proname IN ('lo_creat', 'lo_create', 'lo_from_bytea')) \gexec
SELECT FORMAT('GRANT EXECUTE ON FUNCTION %s TO %I', oid::REGPROCEDURE, :'pipeline')
FROM pg_proc
WHERE pronamespace = 'pg_catalog'::REGNAMESPACE AND proname LIKE '%advisory%' \gexec

GRANT CONNECT ON DATABASE :"DBNAME" TO bi_reader, analyst;
-- CREATE: the pipeline owns the schemas it makes, and only those
GRANT CONNECT, CREATE, TEMPORARY ON DATABASE :"DBNAME" TO :"pipeline";

-- Each promotion makes views anew: the defaults of their schema give readers the new ones, too.
-- The schemas of other environments come and go: plans give them to the analyst, macros/readers.py
CREATE SCHEMA IF NOT EXISTS pipedrive_analytics AUTHORIZATION :"pipeline";
SELECT FORMAT(statement, nspname, reader, :'pipeline')
FROM pg_namespace
CROSS JOIN (VALUES ('bi_reader'), ('analyst')) AS readers (reader)
CROSS JOIN (VALUES
  ('GRANT USAGE ON SCHEMA %1$I TO %2$I'),
  ('GRANT SELECT ON ALL TABLES IN SCHEMA %1$I TO %2$I'),
  ('ALTER DEFAULT PRIVILEGES FOR ROLE %3$I IN SCHEMA %1$I GRANT SELECT ON TABLES TO %2$I')
) AS statements (statement)
WHERE nspname = 'pipedrive_analytics'
  OR (nspname LIKE 'pipedrive\_analytics\_\_%' AND reader = 'analyst') \gexec

COMMIT;
SQL
