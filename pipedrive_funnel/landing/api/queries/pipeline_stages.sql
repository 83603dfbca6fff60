SELECT
  id AS stage_id,
  pipeline_id,
  order_nr,
  deal_probability
FROM pipedrive_api.stages
