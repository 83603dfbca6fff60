/* The deals that are, or ever were, in a pipeline */
SELECT
  id AS deal_id
FROM pipedrive_api.deals
WHERE
  pipeline_id = {pipeline_id}
UNION
SELECT
  deal_id
FROM pipedrive_api.changelogs
WHERE
  field_key = 'stage_id'
  AND (
    old_value IN (
      SELECT CAST(id AS TEXT) FROM pipedrive_api.stages WHERE pipeline_id = {pipeline_id}
    )
    OR new_value IN (
      SELECT CAST(id AS TEXT) FROM pipedrive_api.stages WHERE pipeline_id = {pipeline_id}
    )
  )
