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
  description 'One row per option of a deal field, unpacked from JSON. Join the log of changes on field_key and new_value. Answers what the ids in the log mean. An option without an id is left out; of several with one id, the first label counts.',
  column_descriptions (
    field_key = 'Field the option belongs to',
    option_id = 'Identifier of the option, as the log holds it',
    option_label = 'Label people see'
  )
);

WITH options AS (
  SELECT
    fields.field_key,
    elements.element ->> 'id' AS option_id,
    elements.element ->> 'label' AS option_label
  FROM pipedrive_staging.stg_fields AS fields
  CROSS JOIN LATERAL @json_elements(
    CASE
      WHEN @is_json_array(fields.field_value_options)
      THEN fields.field_value_options
    END
  ) AS elements(element)
)
SELECT
  field_key::TEXT AS field_key,
  option_id::TEXT AS option_id,
  MIN(option_label COLLATE "C")::TEXT AS option_label
FROM options
WHERE
  NOT option_id IS NULL
GROUP BY
  field_key,
  option_id;

@postgres_analyze()
