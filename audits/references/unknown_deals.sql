AUDIT (
  name unknown_deals,
  blocking FALSE
);

/* A returned row is an activity of a deal that the log does not know. Kept; exports often cover fewer deals than activities. */
SELECT
  activities.activity_id,
  activities.deal_id
FROM pipedrive_staging.stg_activity AS activities
WHERE
  NOT EXISTS(
    SELECT
      1
    FROM pipedrive_staging.stg_deal_changes AS changes
    WHERE
      changes.deal_id = activities.deal_id
  )
