AUDIT (
  name funnel_completeness,
  blocking FALSE,
  defaults (
    last_step = 2
  )
);

/* A returned row is a month of the report that lacks one of its first stages, Step 1 or Step 2. */
SELECT
  months.month,
  steps.funnel_step AS missing_step
FROM (
  SELECT DISTINCT
    month
  FROM @this_model
) AS months
CROSS JOIN (
  SELECT
    funnel_step
  FROM pipedrive_analytics.dim_funnel_steps
  WHERE
    source = 'stage' AND funnel_step <= @last_step
) AS steps
LEFT JOIN @this_model AS report
  ON months.month = report.month AND steps.funnel_step = report.funnel_step
WHERE
  report.month IS NULL
