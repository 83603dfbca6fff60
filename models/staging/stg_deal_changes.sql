MODEL (
  name pipedrive_staging.stg_deal_changes,
  kind VIEW,
  tags (
    staging
  ),
  grain change_id,
  audits (
    not_null(columns := (deal_id, field_key, change_timestamp, loaded_at)),
    unique_values(columns := change_id),
    changes_hold_ids
  ),
  description 'One row per distinct change of a deal: creation, stage, owner or lost reason. The log is append-only; a change that was delivered twice is one row. Which deals changed since, is asked of loaded_at; in which order things happened, of change_timestamp.',
  column_descriptions (
    change_id = 'MD5 of deal, field, value and time: the same for the same change, wherever it is loaded',
    deal_id = 'Deal that changed',
    field_key = 'What changed: add_time (creation), stage_id, user_id, lost_reason',
    new_value = 'The value after the change, as text; NULL when there is none',
    change_timestamp = 'When the deal changed, UTC',
    loaded_at = 'When the change first arrived, UTC; in the sample, when it happened'
  )
);

WITH renamed AS (
  SELECT
    deal_id::BIGINT AS deal_id,
    changed_field_key::TEXT AS field_key,
    NULLIF(new_value::TEXT, '') AS new_value,
    change_time::TIMESTAMP AS change_timestamp,
    @IF(@raw_schema = 'pipedrive_seed', change_time, loaded_at)::TIMESTAMP AS loaded_at
  FROM @{raw_schema}.deal_changes
)
SELECT
  MD5(
    CONCAT_WS('|', deal_id::TEXT, field_key, COALESCE(new_value, ''), change_timestamp::TEXT)
  )::TEXT AS change_id,
  deal_id::BIGINT AS deal_id,
  field_key::TEXT AS field_key,
  new_value::TEXT AS new_value,
  change_timestamp::TIMESTAMP AS change_timestamp,
  MIN(loaded_at)::TIMESTAMP AS loaded_at
FROM renamed
GROUP BY
  deal_id,
  field_key,
  new_value,
  change_timestamp
