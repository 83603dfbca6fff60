MODEL (
  name pipedrive_analytics.dim_pipelines,
  kind FULL,
  tags (
    marts
  ),
  grain pipeline_id,
  audits (not_null(columns := pipeline_id), unique_values(columns := pipeline_id)),
  description 'One row per pipeline of the CRM. Join fct_deals on pipeline_id. It has no rows where the source does not tell the pipelines.',
  column_descriptions (
    pipeline_id = 'Identifier of the pipeline',
    pipeline_name = 'Label people see',
    pipeline_position = 'Place among the pipelines',
    is_deleted = 'TRUE when the pipeline was deleted'
  )
);

SELECT
  pipeline_id::BIGINT AS pipeline_id,
  pipeline_name::TEXT AS pipeline_name,
  pipeline_position::BIGINT AS pipeline_position,
  is_deleted::BOOLEAN AS is_deleted
FROM pipedrive_staging.stg_pipelines;

@postgres_analyze()
