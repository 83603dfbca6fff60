AUDIT (
  name unknown_activity_types,
  blocking FALSE
);

/* A returned row is an activity whose type stg_activity_types does not know. Kept, without a label. */
SELECT
  activities.activity_id,
  activities.deal_id,
  activities.activity_type_key
FROM pipedrive_staging.stg_activity AS activities
WHERE
  NOT EXISTS(
    SELECT
      1
    FROM pipedrive_staging.stg_activity_types AS types
    WHERE
      types.activity_type_key = activities.activity_type_key
  )
