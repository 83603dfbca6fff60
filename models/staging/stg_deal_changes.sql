MODEL (
  name pipedrive_staging.stg_deal_changes,
  kind VIEW,
  tags (
    staging
  ),
  grain (change_id, loaded_at),
  audits (
    not_null(
      columns := (deal_id, field_key, change_timestamp, loaded_at),
      condition := @has_arrived(loaded_at)
    ),
    changes_are_valid(condition := @has_arrived(loaded_at)),
    rows_conserved(raw_table := deal_changes)
  ),
  description 'One row per delivered change of a deal: creation, stage, owner or lost reason. A change that was delivered twice is two rows here and one in int_deal_changes, which everything below reads. loaded_at tells which deals changed since, change_timestamp in which order things happened.',
  column_descriptions (
    change_id = 'MD5 of deal, field, value and time: the same for the same change, wherever it is loaded',
    deal_id = 'Deal that changed',
    field_key = 'Field that changed: add_time (creation), stage_id, user_id, lost_reason',
    new_value = 'The value after the change, as text; NULL when there is none',
    change_timestamp = 'When the deal changed, UTC',
    loaded_at = 'When the row arrived, UTC; in the sample, when the deal changed'
  )
);

SELECT
  MD5(
    CONCAT_WS('|', deal_id::TEXT, field_key, COALESCE(new_value, ''), change_timestamp::TEXT)
  )::TEXT AS change_id,
  deal_id::BIGINT AS deal_id,
  field_key::TEXT AS field_key,
  new_value::TEXT AS new_value,
  change_timestamp::TIMESTAMP AS change_timestamp,
  loaded_at::TIMESTAMP AS loaded_at
FROM (
  /* No CTE: PostgreSQL would read the whole log for the changes of one deal, index or not */
  SELECT
    deal_id::BIGINT AS deal_id,
    changed_field_key::TEXT AS field_key,
    NULLIF(new_value::TEXT, '') AS new_value,
    change_time::TIMESTAMP AS change_timestamp,
    @IF(@raw_schema = 'pipedrive_seed', change_time, loaded_at)::TIMESTAMP AS loaded_at
  FROM @{raw_schema}.deal_changes
) AS renamed;

@note_processed()
