MODEL (
  name pipedrive_seed.users,
  kind SEED (
    path '$root/seeds/users.csv',
    batch_size 10000,
    csv_settings (keep_default_na = FALSE, na_values = '')
  ),
  tags (
    raw
  ),
  grain id,
  audits (
    not_null(columns := id)
  ),
  description 'One row per user of the CRM, as in seeds/users.csv. stg_users parses it.',
  column_descriptions (
    id = 'Identifier of the user',
    name = 'Name of the user; not unique',
    email = 'Address of the user; not unique',
    modified = 'When the user was last modified, UTC'
  ),
  columns (
    id BIGINT,
    name TEXT,
    email TEXT,
    modified TEXT
  ),
  enabled @IF(@raw_schema = 'pipedrive_seed', TRUE, FALSE),
  ignored_rules (
    nomissingunittest
  ) /* a SEED has no query; pytest covers its gates */
);

@INSERT_SEED();

@postgres_analyze()
