MODEL (
  name pipedrive_quality.checked_tables,
  kind EMBEDDED,
  tags (
    quality
  ),
  grain table_name,
  description 'One row per table whose rows the data quality checks return: how many rows it has. rep_data_quality works out shares with it.',
  column_descriptions (
    table_name = 'Name of the table, without its schema',
    rows_count = 'Number of its rows'
  )
);

SELECT
  'dim_funnel_steps'::TEXT AS table_name,
  COUNT(*)::BIGINT AS rows_count
FROM pipedrive_analytics.dim_funnel_steps
UNION ALL
SELECT
  'fct_activities'::TEXT AS table_name,
  COUNT(*)::BIGINT AS rows_count
FROM pipedrive_analytics.fct_activities
UNION ALL
SELECT
  'fct_deal_stage_history'::TEXT AS table_name,
  COUNT(*)::BIGINT AS rows_count
FROM pipedrive_analytics.fct_deal_stage_history
UNION ALL
SELECT
  'fct_deals'::TEXT AS table_name,
  COUNT(*)::BIGINT AS rows_count
FROM pipedrive_analytics.fct_deals
UNION ALL
SELECT
  'fct_stage_entries'::TEXT AS table_name,
  COUNT(*)::BIGINT AS rows_count
FROM pipedrive_analytics.fct_stage_entries
UNION ALL
SELECT
  'int_activities'::TEXT AS table_name,
  COUNT(*)::BIGINT AS rows_count
FROM pipedrive_intermediate.int_activities
UNION ALL
SELECT
  'int_deal_changes'::TEXT AS table_name,
  COUNT(*)::BIGINT AS rows_count
FROM pipedrive_intermediate.int_deal_changes
UNION ALL
SELECT
  'int_deal_stage_history'::TEXT AS table_name,
  COUNT(*)::BIGINT AS rows_count
FROM pipedrive_intermediate.int_deal_stage_history
UNION ALL
SELECT
  'rep_sales_funnel_monthly'::TEXT AS table_name,
  COUNT(*)::BIGINT AS rows_count
FROM pipedrive_analytics.rep_sales_funnel_monthly
UNION ALL
SELECT
  'rep_sales_funnel_trends'::TEXT AS table_name,
  COUNT(*)::BIGINT AS rows_count
FROM pipedrive_analytics.rep_sales_funnel_trends
UNION ALL
SELECT
  'stg_activity'::TEXT AS table_name,
  COUNT(*)::BIGINT AS rows_count
FROM pipedrive_staging.stg_activity
UNION ALL
SELECT
  'stg_fields'::TEXT AS table_name,
  COUNT(*)::BIGINT AS rows_count
FROM pipedrive_staging.stg_fields
