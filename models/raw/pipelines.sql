MODEL (
  name pipedrive_seed.pipelines,
  kind SEED (
    path '$root/seeds/pipelines.csv',
    batch_size 10000,
    csv_settings (keep_default_na = FALSE, na_values = '')
  ),
  tags (
    raw
  ),
  grain pipeline_id,
  audits (
    not_null(columns := pipeline_id)
  ),
  description 'One row per pipeline of the CRM, as in seeds/pipelines.csv. stg_pipelines renames it.',
  column_descriptions (
    pipeline_id = 'Identifier of the pipeline',
    pipeline_name = 'Label people see',
    order_nr = 'Place among the pipelines',
    is_deleted = 'True when the pipeline was deleted'
  ),
  columns (
    pipeline_id BIGINT,
    pipeline_name TEXT,
    order_nr BIGINT,
    is_deleted BOOLEAN
  ),
  enabled @IF(@raw_schema = 'pipedrive_seed', TRUE, FALSE),
  ignored_rules (
    nomissingunittest
  ) /* a SEED has no query; pytest covers its gates */
);

@INSERT_SEED();

@postgres_analyze()
