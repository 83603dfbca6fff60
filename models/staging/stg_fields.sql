MODEL (
  name pipedrive_staging.stg_fields,
  kind VIEW,
  tags (
    staging
  ),
  grain field_key,
  audits (
    not_null(columns := field_key),
    unique_values(columns := field_key),
    rows_conserved(raw_table := fields)
  ),
  description 'One row per deal field of the CRM. Join stg_deal_changes on field_key; int_field_options has the options unpacked.',
  column_descriptions (
    field_key = 'Key that the log of changes holds',
    field_name = 'Label people see',
    field_value_options = 'JSON array of {id, label}; NULL for a free field',
    loaded_at = 'When the row arrived, UTC; NULL in the sample, whose fields do not arrive'
  )
);

SELECT
  field_key::TEXT AS field_key,
  name::TEXT AS field_name,
  NULLIF(field_value_options::TEXT, '')::TEXT AS field_value_options,
  @IF(@raw_schema = 'pipedrive_seed', NULL, loaded_at)::TIMESTAMP AS loaded_at
FROM @{raw_schema}.fields
