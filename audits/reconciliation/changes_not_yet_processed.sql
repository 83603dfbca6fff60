AUDIT (
  name changes_not_yet_processed,
  blocking FALSE
);

/* A returned row is an entry into a stage that arrived after what has been processed: today, or with a time in the future. */
SELECT
  deal_id,
  new_value AS stage_id,
  loaded_at
FROM pipedrive_staging.stg_deal_changes
WHERE
  field_key = 'stage_id' AND loaded_at > @processed_until()
