MODEL (
  name pipedrive_seed.pipeline_stages,
  kind SEED (
    path '$root/seeds/pipeline_stages.csv',
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
  description 'One row per stage: which pipeline it belongs to, and where, as in seeds/pipeline_stages.csv. stg_pipeline_stages renames it.',
  column_descriptions (
    stage_id = 'Identifier of the stage',
    pipeline_id = 'Pipeline it belongs to',
    order_nr = 'Place among the stages of the pipeline',
    deal_probability = 'Probability in per cent that a deal in this stage is won'
  ),
  columns (
    stage_id BIGINT,
    pipeline_id BIGINT,
    order_nr BIGINT,
    deal_probability BIGINT
  ),
  enabled @IF(@raw_schema = 'pipedrive_seed', TRUE, FALSE),
  ignored_rules (
    nomissingunittest
  ) /* a SEED has no query; pytest covers its gates */
);

@INSERT_SEED();

@postgres_analyze()
