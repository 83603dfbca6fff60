AUDIT (
  name funnel_completeness,
  blocking FALSE,
  defaults (
    first_stages = 2
  )
);

/* A returned row is a month of the report and one of the funnel's first stages, Step 1 or Step 2, that it lacks. */
SELECT
  months.month,
  steps.funnel_step AS missing_step
FROM (
  SELECT DISTINCT
    month
  FROM @this_model
) AS months
CROSS JOIN @funnel_in_order() AS steps
LEFT JOIN @this_model AS report
  ON months.month = report.month AND steps.funnel_step = report.funnel_step
WHERE
  steps.source = 'stage'
  AND steps.stage_position <= @first_stages
  AND report.month IS NULL
