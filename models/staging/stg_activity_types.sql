MODEL (
  name pipedrive_staging.stg_activity_types,
  kind VIEW,
  tags (
    staging
  ),
  grain activity_type_id,
  audits (
    not_null(columns := (activity_type_id, activity_type_key)),
    unique_values(columns := (activity_type_id, activity_type_key)),
    rows_conserved(raw_table := activity_types)
  ),
  description 'One row per activity type. Join stg_activity on activity_type_key.',
  column_descriptions (
    activity_type_id = 'Identifier of the activity type',
    activity_type_name = 'Label people see',
    activity_type_key = 'Key that activities hold',
    is_active = 'TRUE when the type can still be chosen',
    loaded_at = 'When the row arrived, UTC; NULL in the sample, whose types do not arrive'
  )
);

SELECT
  id::BIGINT AS activity_type_id,
  name::TEXT AS activity_type_name,
  type::TEXT AS activity_type_key,
  (
    LOWER(active) = 'yes'
  )::BOOLEAN AS is_active,
  @IF(@raw_schema = 'pipedrive_seed', NULL, loaded_at)::TIMESTAMP AS loaded_at
FROM @{raw_schema}.activity_types
