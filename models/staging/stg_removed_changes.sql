MODEL (
  name pipedrive_staging.stg_removed_changes,
  kind VIEW,
  tags (
    staging
  ),
  grain deal_id,
  audits (not_null(columns := (deal_id, loaded_at)), unique_values(columns := deal_id)),
  description 'One row per deal whose log or activities have lost rows: landing has removed them, because the source no longer has them. The sample has none. Tells int_touched_deals which deals to rebuild when no row of theirs has arrived.',
  column_descriptions (
    deal_id = 'Deal that has lost rows; it may have none left',
    loaded_at = 'When rows were last removed, UTC'
  ),
  ignored_rules (
    nojoinsinstaging
  ) /* the sample has no raw table to read */
);

WITH no_rows AS (
  SELECT
    NULL AS deal_id,
    NULL AS loaded_at
  LIMIT 0
)
SELECT
  deal_id::BIGINT AS deal_id,
  loaded_at::TIMESTAMP AS loaded_at
FROM @IF(@raw_schema = 'pipedrive_seed', no_rows, pipedrive_raw.removed_changes)
