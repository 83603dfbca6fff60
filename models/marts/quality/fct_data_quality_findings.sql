MODEL (
  name pipedrive_analytics.fct_data_quality_findings,
  kind FULL,
  tags (
    marts
  ),
  grain (check_name, finding),
  audits (
    not_null(columns := (check_name, finding, rows_count)),
    unique_combination_of_columns(columns := (check_name, finding))
  ),
  description 'One row per check and row that it returns. Join dim_data_quality_checks on check_name and fct_deals on deal_id. Answers which rows a check has found, all of them; rep_data_quality has their numbers.',
  column_descriptions (
    check_name = 'Name of the check: the file in audits/ that holds its rule',
    finding = 'The returned row: its columns and their values',
    deal_id = 'Deal it is about; NULL when it is about none',
    rows_count = 'Number of returned rows that read so; nearly always 1'
  )
);

SELECT
  check_name::TEXT AS check_name,
  finding::TEXT AS finding,
  deal_id::BIGINT AS deal_id,
  COUNT(*)::BIGINT AS rows_count
FROM @data_quality_findings() AS findings
GROUP BY
  check_name,
  finding,
  deal_id;

@postgres_index(check_name);

@postgres_analyze()
