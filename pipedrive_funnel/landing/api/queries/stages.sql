SELECT
  id AS stage_id,
  name AS stage_name
FROM pipedrive_api.stages
