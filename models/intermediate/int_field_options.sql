MODEL (
  name pipedrive_intermediate.int_field_options,
  kind FULL,
  tags (
    intermediate
  ),
  grain (field_key, option_id),
  audits (
    not_null(columns := (field_key, option_id)),
    unique_combination_of_columns(columns := (field_key, option_id))
  ),
  description 'One row per option of a deal field, unpacked from JSON. Join the log of changes on field_key and new_value. Answers what the ids in the log mean.',
  column_descriptions (
    field_key = 'Field the option belongs to',
    option_id = 'Identifier of the option, as the log holds it',
    option_label = 'Label people see'
  )
);

SELECT
  fields.field_key::TEXT AS field_key,
  (
    options.option ->> 'id'
  )::TEXT AS option_id,
  (
    options.option ->> 'label'
  )::TEXT AS option_label
FROM pipedrive_staging.stg_fields AS fields
CROSS JOIN LATERAL @json_elements(fields.field_value_options) AS options(option);

@postgres_analyze()
