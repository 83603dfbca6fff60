AUDIT (
  name unknown_stages,
  blocking FALSE
);

/* A returned row is an entry into a stage that stg_stages does not know. Kept, without a label. */
SELECT
  entries.deal_id,
  entries.stage_id,
  entries.stage_entry_num
FROM @this_model AS entries
WHERE
  NOT EXISTS(
    SELECT
      1
    FROM pipedrive_staging.stg_stages AS stages
    WHERE
      stages.stage_id = entries.stage_id
  )
