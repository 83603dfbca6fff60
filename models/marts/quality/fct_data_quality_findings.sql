MODEL (
  name pipedrive_analytics.fct_data_quality_findings,
  kind FULL,
  tags (marts, quality),
  grain (check_name, finding),
  audits (
    not_null(columns := (check_name, finding, rows_count)),
    unique_combination_of_columns(columns := (check_name, finding)),
    funnel_completeness,
    funnel_progression_logic,
    stage_activity_consistency,
    data_freshness
  ),
  description 'One row per check and row that it returns. Join dim_data_quality_checks on check_name and fct_deals on deal_id. Answers which rows a check has found, all of them; rep_data_quality has their numbers.',
  column_descriptions (
    check_name = 'Name of the check: the CTE in models/marts/quality/checks/ that holds its rule',
    finding = 'The returned row: its columns and their values',
    deal_id = 'Deal it is about; NULL when it is about none',
    rows_count = 'Number of returned rows that read so; nearly always 1'
  )
);

WITH findings AS (
  SELECT
    check_name,
    finding,
    deal_id
  FROM pipedrive_quality.chk_input
  UNION ALL
  SELECT
    check_name,
    finding,
    deal_id
  FROM pipedrive_quality.chk_references
  UNION ALL
  SELECT
    check_name,
    finding,
    deal_id
  FROM pipedrive_quality.chk_moves
  UNION ALL
  SELECT
    check_name,
    finding,
    deal_id
  FROM pipedrive_quality.chk_funnel
  UNION ALL
  SELECT
    check_name,
    finding,
    deal_id
  FROM pipedrive_quality.chk_monitors
)
SELECT
  check_name::TEXT AS check_name,
  finding::TEXT AS finding,
  deal_id::BIGINT AS deal_id,
  COUNT(*)::BIGINT AS rows_count
FROM findings
GROUP BY
  check_name,
  finding,
  deal_id;

@postgres_index(check_name);

@postgres_analyze()
