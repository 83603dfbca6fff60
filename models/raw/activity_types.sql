MODEL (
  name pipedrive_seed.activity_types,
  kind SEED (
    path '$root/seeds/activity_types.csv',
    batch_size 10000,
    csv_settings (keep_default_na = FALSE, na_values = '')
  ),
  tags (
    raw
  ),
  grain id,
  audits (
    not_null(columns := (id, type))
  ),
  description 'One row per activity type of the CRM, as in seeds/activity_types.csv. stg_activity_types renames it.',
  column_descriptions (
    id = 'Identifier of the activity type',
    name = 'Label people see',
    active = 'Yes when the type can still be chosen, else No',
    type = 'Key that activity.type holds'
  ),
  columns (
    id BIGINT,
    name TEXT,
    active TEXT,
    type TEXT
  ),
  enabled @IF(@raw_schema = 'pipedrive_seed', TRUE, FALSE),
  ignored_rules (
    nomissingunittest
  ) /* a SEED has no query; pytest covers its gates */
);

@INSERT_SEED();

@postgres_analyze()
