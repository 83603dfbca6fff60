MODEL (
  name pipedrive_analytics.dim_funnel_steps,
  kind FULL,
  tags (
    marts
  ),
  grain funnel_step,
  audits (
    not_null(columns := (funnel_step, kpi_name, source, key, stage_position)),
    unique_values(columns := (funnel_step, kpi_name)),
    unique_combination_of_columns(columns := (source, key)),
    stages_are_numbered
  ),
  description 'One row per step of the sales funnel, with its place among the stages. Join dim_stages or the facts on funnel_step. Edit seeds/funnel_steps.csv to fit another pipeline; nothing else names a step.',
  column_descriptions (
    funnel_step = 'Position in the funnel: whole for a stage, with a decimal for a call that follows it',
    kpi_name = 'Name of the step in reports',
    source = 'Origin of the step: stage (first entry of a deal) or activity (done sales call)',
    key = 'Stage id, or key of the activity type',
    stage_position = 'Number of stage steps up to and with this one: 1 is the first stage; a call has the position of the stage it follows, 0 before the first',
    previous_stage_step = 'funnel_step of the last stage before this step; NULL for the first'
  )
);

SELECT
  funnel_step::DECIMAL(4, 1) AS funnel_step,
  kpi_name::TEXT AS kpi_name,
  source::TEXT AS source,
  key::TEXT AS key,
  COUNT(CASE WHEN source = 'stage' THEN 1 END) OVER (ORDER BY funnel_step)::INT AS stage_position,
  MAX(CASE WHEN source = 'stage' THEN funnel_step END) OVER (ORDER BY funnel_step ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING)::DECIMAL(4, 1) AS previous_stage_step
FROM pipedrive_staging.stg_funnel_steps;

@postgres_analyze()
