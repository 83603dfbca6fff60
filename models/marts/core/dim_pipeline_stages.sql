MODEL (
  name pipedrive_analytics.dim_pipeline_stages,
  kind FULL,
  tags (
    marts
  ),
  grain stage_id,
  audits (not_null(columns := stage_id), unique_values(columns := stage_id)),
  description 'One row per stage: its pipeline, its place there and the probability of winning. Join dim_stages on stage_id and dim_pipelines on pipeline_id. It has no rows where the source does not tell them.',
  column_descriptions (
    stage_id = 'Identifier of the stage',
    pipeline_id = 'Pipeline it belongs to',
    stage_position = 'Place among the stages of the pipeline',
    deal_probability = 'Probability in per cent that a deal in this stage is won, as the CRM has it'
  )
);

SELECT
  stage_id::BIGINT AS stage_id,
  pipeline_id::BIGINT AS pipeline_id,
  stage_position::BIGINT AS stage_position,
  deal_probability::BIGINT AS deal_probability
FROM pipedrive_staging.stg_pipeline_stages;

@postgres_analyze()
