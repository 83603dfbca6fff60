SELECT
  id,
  name,
  CASE WHEN active_flag THEN 'Yes' WHEN NOT active_flag THEN 'No' END AS active,
  key_string AS type
FROM pipedrive_api.activity_types
