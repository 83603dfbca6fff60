MODEL (
  name pipedrive_seed.stages,
  kind SEED (
    path '$root/seeds/stages.csv',
    batch_size 10000,
    csv_settings (keep_default_na = FALSE, na_values = '')
  ),
  tags (
    raw
  ),
  grain stage_id,
  audits (
    not_null(columns := stage_id)
  ),
  description 'One row per stage of the sales pipeline, as in seeds/stages.csv. stg_stages renames it.',
  column_descriptions (stage_id = 'Identifier of the stage', stage_name = 'Label people see'),
  columns (
    stage_id BIGINT,
    stage_name TEXT
  ),
  enabled @IF(@raw_schema = 'pipedrive_seed', TRUE, FALSE),
  ignored_rules (
    nomissingunittest
  ) /* a SEED has no query; pytest covers its gates */
);

@INSERT_SEED();

@postgres_analyze()
