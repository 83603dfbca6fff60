MODEL (
  name pipedrive_staging.stg_pipeline_stages,
  kind VIEW,
  tags (
    staging
  ),
  grain stage_id,
  audits (
    not_null(columns := stage_id),
    unique_values(columns := (
      stage_id
    )),
    rows_conserved(raw_table := pipeline_stages)
  ),
  description 'One row per stage: which pipeline it belongs to, and where. Exports may lack it: then it has no rows. Join stg_stages on stage_id and stg_pipelines on pipeline_id.',
  column_descriptions (
    stage_id = 'Identifier of the stage',
    pipeline_id = 'Pipeline it belongs to',
    stage_position = 'Place among the stages of the pipeline',
    deal_probability = 'Probability in per cent that a deal in this stage is won',
    loaded_at = 'When the row arrived, UTC; NULL in the sample, whose stages do not arrive'
  )
);

SELECT
  stage_id::BIGINT AS stage_id,
  pipeline_id::BIGINT AS pipeline_id,
  order_nr::BIGINT AS stage_position,
  deal_probability::BIGINT AS deal_probability,
  @IF(@raw_schema = 'pipedrive_seed', NULL, loaded_at)::TIMESTAMP AS loaded_at
FROM @{raw_schema}.pipeline_stages
