MODEL (
  name pipedrive_staging.stg_funnel_steps,
  kind VIEW,
  tags (
    staging
  ),
  grain funnel_step,
  audits (not_null(columns := funnel_step), unique_values(columns := (
      funnel_step
  ))),
  description 'One row per step of the sales funnel, as mapped in seeds/funnel_steps.csv. Join stages and activity types on key.',
  column_descriptions (
    funnel_step = 'Position in the funnel: whole for a stage, with a decimal for a call that follows it',
    kpi_name = 'Name of the step in reports',
    source = 'Origin of the step: stage (first entry of a deal) or activity (done sales call)',
    key = 'Stage id, or key of the activity type'
  )
);

SELECT
  funnel_step::DECIMAL(4, 1) AS funnel_step,
  kpi_name::TEXT AS kpi_name,
  source::TEXT AS source,
  key::TEXT AS key
FROM pipedrive_seed.funnel_steps
