#!/bin/sh
# Create the role the pipeline runs as: it may create schemas in its database, and nothing else.
#
# The container of docker-compose.yml runs this once, on its first start. On a server of your own,
# run it as a superuser; running it again is harmless and sets the password anew:
#
#   export PGHOST=... PGPORT=5432 PGPASSWORD=... POSTGRES_USER=postgres
#   createdb --username postgres pipedrive
#   PIPELINE_USER=pipedrive PIPELINE_PASSWORD=... POSTGRES_DB=pipedrive \
#     sh docker/create_pipeline_role.sh
set -eu
: "${PIPELINE_PASSWORD:?}"

psql --no-psqlrc --quiet --set ON_ERROR_STOP=1 \
  --username "${POSTGRES_USER:-postgres}" --dbname "$POSTGRES_DB" \
  --set role="${PIPELINE_USER:?}" <<'SQL'
\getenv password PIPELINE_PASSWORD

-- A superuser of that name is somebody else's role: leave it as it is
SELECT EXISTS (SELECT 1 FROM pg_roles WHERE rolname = :'role' AND rolsuper) AS is_superuser \gset
\if :is_superuser
  DO $$ BEGIN RAISE EXCEPTION 'PIPELINE_USER is a superuser: choose another name'; END $$;
\endif

SELECT FORMAT('CREATE ROLE %I', :'role')
WHERE NOT EXISTS (SELECT 1 FROM pg_roles WHERE rolname = :'role') \gexec

ALTER ROLE :"role" LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE PASSWORD :'password';
ALTER ROLE :"role" SET TimeZone TO 'UTC';

-- CREATE: the pipeline owns the schemas it makes, and only those
GRANT CONNECT, CREATE, TEMPORARY ON DATABASE :"DBNAME" TO :"role";
SQL
