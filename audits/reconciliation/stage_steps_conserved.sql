AUDIT (
  name stage_steps_conserved
);

/* A returned row is a stage step whose deals in the report are not the first entries in the fact. */
SELECT
  COALESCE(report.funnel_step, facts.funnel_step) AS funnel_step,
  report.deals AS deals_in_report,
  facts.deals AS deals_in_fact
FROM (
  SELECT
    report.funnel_step,
    SUM(report.deals_count) AS deals
  FROM @this_model AS report
  JOIN pipedrive_analytics.dim_funnel_steps AS steps
    ON report.funnel_step = steps.funnel_step
  WHERE
    steps.source = 'stage'
  GROUP BY
    report.funnel_step
) AS report
FULL JOIN (
  SELECT
    funnel_step,
    COUNT(*) AS deals
  FROM pipedrive_analytics.fct_deal_stage_history
  WHERE
    NOT funnel_step IS NULL
  GROUP BY
    funnel_step
) AS facts
  ON report.funnel_step = facts.funnel_step
WHERE
  COALESCE(report.deals, 0) <> COALESCE(facts.deals, 0)
