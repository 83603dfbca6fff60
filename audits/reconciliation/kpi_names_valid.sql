AUDIT (
  name kpi_names_valid
);

/* A returned row names its step otherwise than dim_funnel_steps does. */
SELECT
  report.*
FROM @this_model AS report
LEFT JOIN pipedrive_analytics.dim_funnel_steps AS steps
  ON report.funnel_step = steps.funnel_step AND report.kpi_name = steps.kpi_name
WHERE
  steps.funnel_step IS NULL
