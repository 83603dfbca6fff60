SELECT
  CAST(NULL AS BIGINT) AS id, /* v2 has no such number */
  CASE WHEN field_code = 'owner_id' THEN 'user_id' ELSE field_code END AS field_key, /* as in the log */
  field_name AS name,
  options AS field_value_options
FROM pipedrive_api.deal_fields
