MODEL (
  name pipedrive_analytics.dim_stages,
  kind FULL,
  tags (
    marts
  ),
  grain stage_id,
  audits (not_null(columns := stage_id), unique_values(columns := stage_id)),
  description 'One row per stage of the sales pipeline, with its step of the funnel. Join fct_deal_stage_history on stage_id and dim_funnel_steps on funnel_step.',
  column_descriptions (
    stage_id = 'Identifier of the stage',
    stage_name = 'Label people see',
    kpi_name = 'Name of the funnel step the stage fills; NULL for a stage outside the funnel',
    funnel_step = 'Funnel step the stage fills; NULL for a stage outside the funnel'
  )
);

SELECT
  stages.stage_id::BIGINT AS stage_id,
  stages.stage_name::TEXT AS stage_name,
  steps.kpi_name::TEXT AS kpi_name,
  steps.funnel_step::DECIMAL(4, 1) AS funnel_step
FROM pipedrive_staging.stg_stages AS stages
LEFT JOIN pipedrive_analytics.dim_funnel_steps AS steps
  ON steps.source = 'stage' AND steps.key = stages.stage_id::TEXT;

@postgres_analyze()
