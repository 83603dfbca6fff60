MODEL (
  name pipedrive_seed.fields,
  kind SEED (
    path '$root/seeds/fields.csv',
    batch_size 10000,
    csv_settings (keep_default_na = FALSE, na_values = '')
  ),
  tags (
    raw
  ),
  grain id,
  audits (
    not_null(columns := (id, field_key))
  ),
  description 'One row per deal field of the CRM, with its options, as in seeds/fields.csv. stg_fields renames it.',
  column_descriptions (
    id = 'Identifier of the field',
    field_key = 'Key that deal_changes.changed_field_key holds',
    name = 'Label people see',
    field_value_options = 'JSON array of {id, label}; empty for a free field'
  ),
  columns (
    id BIGINT,
    field_key TEXT,
    name TEXT,
    field_value_options TEXT
  ),
  enabled @IF(@raw_schema = 'pipedrive_seed', TRUE, FALSE),
  ignored_rules (
    nomissingunittest
  ) /* a SEED has no query; pytest covers its gates */
);

@INSERT_SEED();

@postgres_analyze()
