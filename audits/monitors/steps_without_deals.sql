AUDIT (
  name steps_without_deals,
  blocking FALSE
);

/* A returned row is a funnel step that no deal ever reached: its key may be misspelt, or its input is missing. */
SELECT
  steps.funnel_step,
  steps.source,
  steps.key
FROM pipedrive_analytics.dim_funnel_steps AS steps
LEFT JOIN @this_model AS report
  ON steps.funnel_step = report.funnel_step
WHERE
  report.funnel_step IS NULL
