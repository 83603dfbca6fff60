MODEL (
  name pipedrive_analytics.dim_data_quality_checks,
  kind FULL,
  tags (
    marts
  ),
  grain check_name,
  audits (
    not_null(columns := (check_name, severity, meaning)),
    unique_values(columns := check_name),
    accepted_values(column := severity, is_in := ('warning', 'oddity'))
  ),
  description 'One row per check of the input that warns or observes, also those that find nothing. Join fct_data_quality_findings on check_name. Answers what is checked.',
  column_descriptions (
    check_name = 'Name of the check: the file in audits/ that holds its rule',
    severity = 'warning (somebody should look; every plan prints it) or oddity (usual in exports, good to know)',
    meaning = 'What a row that the check returns is, and what becomes of it',
    checked_table = 'Table of whose rows the returned ones are a share; NULL when they are rows of none',
    checked_rows_count = 'Number of rows of that table'
  )
);

SELECT
  check_name::TEXT AS check_name,
  severity::TEXT AS severity,
  meaning::TEXT AS meaning,
  checked_table::TEXT AS checked_table,
  checked_rows_count::BIGINT AS checked_rows_count
FROM @data_quality_checks() AS checks;

@postgres_analyze()
