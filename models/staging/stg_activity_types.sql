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
    is_active = 'TRUE when the type can still be chosen'
  )
);

SELECT
  id::BIGINT AS activity_type_id,
  name::TEXT AS activity_type_name,
  type::TEXT AS activity_type_key,
  (
    LOWER(active) = 'yes'
  )::BOOLEAN AS is_active
FROM @{raw_schema}.activity_types
