MODEL (
  name pipedrive_staging.stg_pipelines,
  kind VIEW,
  tags (
    staging
  ),
  grain pipeline_id,
  audits (
    not_null(columns := pipeline_id),
    unique_values(columns := (
      pipeline_id
    )),
    rows_conserved(raw_table := pipelines)
  ),
  description 'One row per pipeline of the CRM. Exports may lack it: then it has no rows. Join stg_pipeline_stages and deals on pipeline_id.',
  column_descriptions (
    pipeline_id = 'Identifier of the pipeline',
    pipeline_name = 'Label people see',
    pipeline_position = 'Place among the pipelines',
    is_deleted = 'TRUE when the pipeline was deleted; what is not said counts as FALSE',
    loaded_at = 'When the row arrived, UTC; NULL in the sample, whose pipelines do not arrive'
  )
);

SELECT
  pipeline_id::BIGINT AS pipeline_id,
  NULLIF(pipeline_name::TEXT, '')::TEXT AS pipeline_name,
  order_nr::BIGINT AS pipeline_position,
  COALESCE(is_deleted, FALSE)::BOOLEAN AS is_deleted,
  @IF(@raw_schema = 'pipedrive_seed', NULL, loaded_at)::TIMESTAMP AS loaded_at
FROM @{raw_schema}.pipelines
