AUDIT (
  name months_not_covered,
  blocking FALSE
);

/* A returned row is a month that the grid lacks: one of the report, or one between two others. */
SELECT
  missing.month
FROM (
  SELECT
    report.month
  FROM pipedrive_analytics.rep_sales_funnel_monthly AS report
  LEFT JOIN @this_model AS trends
    ON report.month = trends.month
  WHERE
    trends.month IS NULL
  UNION
  SELECT
    (
      months.previous_month + INTERVAL '1 MONTH'
    )::DATE AS month
  FROM (
    SELECT
      month,
      LAG(month) OVER (ORDER BY month) AS previous_month
    FROM (
      SELECT DISTINCT
        month
      FROM @this_model
    ) AS grid
  ) AS months
  WHERE
    months.previous_month + INTERVAL '1 MONTH' < months.month
) AS missing
