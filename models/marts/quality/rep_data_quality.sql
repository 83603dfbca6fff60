MODEL (
  name pipedrive_analytics.rep_data_quality,
  kind FULL,
  tags (marts, report, quality),
  grain check_name,
  audits (
    not_null(columns := (check_name, severity, meaning, rows_count, as_of)),
    unique_values(columns := check_name),
    totals_conserved(
      key := check_name,
      total := SUM(rows_count),
      source := pipedrive_analytics.fct_data_quality_findings,
      source_key := check_name,
      source_total := SUM(rows_count)
    ), /* A check that is not listed in seeds/data_quality_checks.csv has no row here */
    data_quality_warnings
  ),
  description 'One row per check of the input: how many rows it returns, and up to five of them. Join fct_data_quality_findings on check_name for all. Answers what is wrong, missing or odd in the data behind the numbers, and since when nothing has arrived.',
  column_descriptions (
    check_name = 'Name of the check: the CTE in models/marts/quality/checks/ that holds its rule',
    severity = 'warning (somebody should look; every plan counts it) or info (usual in exports, good to know)',
    meaning = 'Meaning of a row that the check returns, and what becomes of it',
    rows_count = 'Number of rows that the check returns; 0 when it finds nothing',
    share = 'rows_count / number of rows in checked_table: 0.25 is 25 %; NULL without such a table',
    deals_count = 'Number of distinct deals among them; 0 when they are about none',
    examples = 'Up to five of the rows, 200 characters of each, separated by semicolons; NULL when there are none',
    checked_table = 'Table of whose rows the returned ones are a share; NULL when they are rows of none',
    checked_rows_count = 'Number of rows of that table',
    as_of = 'Execution date of the check, UTC'
  ),
  depends_on (
    pipedrive_analytics.dim_deal_owner_history,
    pipedrive_analytics.fct_deal_funnel_steps,
    pipedrive_analytics.fct_deal_status_history
  ) /* so that this model is the last one: it moves the watermarks */
);

WITH totals AS (
  SELECT
    check_name,
    SUM(rows_count) AS rows_count,
    COUNT(DISTINCT deal_id) AS deals_count
  FROM pipedrive_analytics.fct_data_quality_findings
  GROUP BY
    check_name
), examples AS (
  /* COLLATE "C", or the language of a server decides which examples are shown */
  SELECT
    checks.check_name,
    STRING_AGG(
      LEFT(first_findings.finding, 200), '; '
      ORDER BY
        first_findings.finding COLLATE "C"
    ) AS examples
  FROM pipedrive_analytics.dim_data_quality_checks AS checks
  CROSS JOIN LATERAL (
    SELECT
      findings.finding
    FROM pipedrive_analytics.fct_data_quality_findings AS findings
    WHERE
      findings.check_name = checks.check_name
    ORDER BY
      findings.finding COLLATE "C"
    LIMIT 5
  ) AS first_findings
  GROUP BY
    checks.check_name
)
SELECT
  checks.check_name::TEXT AS check_name,
  checks.severity::TEXT AS severity,
  checks.meaning::TEXT AS meaning,
  COALESCE(totals.rows_count, 0)::BIGINT AS rows_count,
  @share(COALESCE(totals.rows_count, 0), checked_tables.rows_count)::DECIMAL(12, 4) AS share,
  COALESCE(totals.deals_count, 0)::BIGINT AS deals_count,
  examples.examples::TEXT AS examples,
  checks.checked_table::TEXT AS checked_table,
  checked_tables.rows_count::BIGINT AS checked_rows_count,
  @execution_ds::DATE AS as_of
FROM pipedrive_analytics.dim_data_quality_checks AS checks
LEFT JOIN totals
  ON checks.check_name = totals.check_name
LEFT JOIN pipedrive_quality.checked_tables AS checked_tables
  ON checks.checked_table = checked_tables.table_name
LEFT JOIN examples
  ON checks.check_name = examples.check_name;

@all_is_processed();

@postgres_analyze()
