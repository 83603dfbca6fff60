SELECT
  id AS pipeline_id,
  name AS pipeline_name,
  order_nr,
  COALESCE(is_deleted, FALSE) AS is_deleted
FROM pipedrive_api.pipelines
