MODEL (
  name pipedrive_analytics.fct_data_quality_findings,
  kind INCREMENTAL_UNMANAGED (
    forward_only FALSE,
    disable_restatement FALSE
  ),
  tags (marts, quality),
  grain (check_name, finding),
  audits (
    not_null(
      columns := (check_name, finding, rows_count, is_by_deal),
      condition := NOT is_by_deal OR @was_touched(deal_id)
    ),
    unique_combination_of_columns(
      columns := (check_name, finding),
      condition := NOT is_by_deal OR @was_touched(deal_id)
    ),
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
    rows_count = 'Number of returned rows that read so; nearly always 1',
    is_by_deal = 'TRUE when a run looks for such rows in the deals that were touched, FALSE when it looks at all rows'
  )
);

@forget_touched_deals(or_where := NOT is_by_deal);

WITH findings AS (
  SELECT
    check_name,
    finding,
    deal_id,
    TRUE AS is_by_deal
  FROM pipedrive_quality.chk_deals
  UNION ALL
  SELECT
    check_name,
    finding,
    deal_id,
    TRUE AS is_by_deal
  FROM pipedrive_quality.chk_moves
  UNION ALL
  SELECT
    check_name,
    finding,
    deal_id,
    TRUE AS is_by_deal
  FROM pipedrive_quality.chk_outcomes
  UNION ALL
  SELECT
    check_name,
    finding,
    deal_id,
    FALSE AS is_by_deal
  FROM pipedrive_quality.chk_input
  UNION ALL
  SELECT
    check_name,
    finding,
    deal_id,
    FALSE AS is_by_deal
  FROM pipedrive_quality.chk_references
  UNION ALL
  SELECT
    check_name,
    finding,
    deal_id,
    FALSE AS is_by_deal
  FROM pipedrive_quality.chk_funnel
  UNION ALL
  SELECT
    check_name,
    finding,
    deal_id,
    FALSE AS is_by_deal
  FROM pipedrive_quality.chk_monitors
  UNION ALL
  SELECT
    check_name,
    finding,
    deal_id,
    FALSE AS is_by_deal
  FROM pipedrive_quality.chk_pipeline
)
SELECT
  check_name::TEXT AS check_name,
  finding::TEXT AS finding,
  deal_id::BIGINT AS deal_id,
  COUNT(*)::BIGINT AS rows_count,
  is_by_deal::BOOLEAN AS is_by_deal
FROM findings
GROUP BY
  deal_id, /* numbers first: texts are dear to sort */
  check_name,
  finding,
  is_by_deal;

@postgres_index(deal_id);

@postgres_index(check_name);

@note_processed(pipedrive_intermediate.int_touched_deals);

@postgres_analyze()
