AUDIT (
  name findings_conserved
);

/* A returned row is a check whose findings are not all counted here. */
SELECT
  findings.check_name
FROM (
  SELECT
    check_name,
    SUM(rows_count) AS total
  FROM pipedrive_analytics.fct_data_quality_findings
  GROUP BY
    check_name
) AS findings
LEFT JOIN @this_model AS report
  ON findings.check_name = report.check_name
WHERE
  findings.total <> COALESCE(report.rows_count, 0)
