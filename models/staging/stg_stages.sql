MODEL (
  name pipedrive_staging.stg_stages,
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
    rows_conserved(raw_table := stages)
  ),
  description 'One row per stage of the sales pipeline. Join the stage history on stage_id.',
  column_descriptions (
    stage_id = 'Identifier of the stage',
    stage_name = 'Label people see',
    loaded_at = 'When the row arrived, UTC; NULL in the sample, whose stages do not arrive'
  )
);

SELECT
  stage_id::BIGINT AS stage_id,
  stage_name::TEXT AS stage_name,
  @IF(@raw_schema = 'pipedrive_seed', NULL, loaded_at)::TIMESTAMP AS loaded_at
FROM @{raw_schema}.stages
