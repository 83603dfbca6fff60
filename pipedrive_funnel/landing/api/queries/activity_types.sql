SELECT
  id,
  name,
  CASE WHEN active_flag THEN 'Yes' ELSE 'No' END AS active,
  key_string AS type
FROM pipedrive_api.activity_types
