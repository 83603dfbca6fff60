AUDIT (
  name monthly_report_conserved
);

/* A returned row is a month and step whose deals here are not those of rep_sales_funnel_monthly; none there is zero. */
SELECT
  COALESCE(here.month, report.month) AS month,
  COALESCE(here.funnel_step, report.funnel_step) AS funnel_step,
  here.deals_count AS deals_here,
  report.deals_count AS deals_in_report
FROM @this_model AS here
FULL JOIN pipedrive_analytics.rep_sales_funnel_monthly AS report
  ON here.month = report.month AND here.funnel_step = report.funnel_step
WHERE
  here.deals_count IS NULL OR here.deals_count <> COALESCE(report.deals_count, 0)
