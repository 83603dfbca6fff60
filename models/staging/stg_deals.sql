MODEL (
  name pipedrive_staging.stg_deals,
  kind VIEW,
  tags (
    staging
  ),
  grain deal_id,
  audits (
    not_null(columns := deal_id, condition := @has_arrived(loaded_at)),
    unique_values(
      columns := deal_id,
      condition := deal_id IN (
        SELECT
          arrived.deal_id
        FROM pipedrive_staging.stg_deals AS arrived
        WHERE
          @has_arrived(arrived.loaded_at)
      )
    ),
    accepted_values(
      column := status,
      is_in := ('open', 'won', 'lost'),
      condition := @has_arrived(loaded_at)
    ),
    rows_conserved(raw_table := deals)
  ),
  description 'One row per deal as it stands in the CRM: its pipeline, status and value. Exports may lack it: then it has no rows. Join int_deals on deal_id.',
  column_descriptions (
    deal_id = 'Identifier of the deal',
    title = 'Title of the deal',
    pipeline_id = 'Pipeline the deal is in',
    stage_id = 'Stage the deal is in',
    status = 'open, won or lost; NULL when unknown',
    value = 'Value of the deal, in its currency',
    currency = 'Code of the currency, such as EUR',
    probability = 'Probability in per cent that somebody has given the deal; NULL when nobody has',
    expected_close_date = 'Day on which the deal is expected to be closed',
    won_timestamp = 'When the deal was won, UTC; NULL unless it is won',
    lost_timestamp = 'When the deal was lost, UTC; NULL unless it is lost',
    closed_timestamp = 'When the deal was closed, won or lost, UTC',
    organization_id = 'Organization of the deal',
    is_deleted = 'TRUE when the deal was deleted, merged into another one or turned into a lead; what is not said counts as FALSE',
    is_archived = 'TRUE when the deal was archived; what is not said counts as FALSE',
    custom_fields = 'JSON object of the company''s own fields, by their keys; NULL when there are none',
    loaded_at = 'When the row arrived, UTC; NULL in the sample, whose deals do not arrive'
  )
);

SELECT
  deal_id::BIGINT AS deal_id,
  NULLIF(title::TEXT, '')::TEXT AS title,
  pipeline_id::BIGINT AS pipeline_id,
  stage_id::BIGINT AS stage_id,
  NULLIF(status::TEXT, '')::TEXT AS status,
  value::DECIMAL(18, 3) AS value,
  NULLIF(currency::TEXT, '')::TEXT AS currency,
  probability::BIGINT AS probability,
  expected_close_date::DATE AS expected_close_date,
  won_time::TIMESTAMP AS won_timestamp,
  lost_time::TIMESTAMP AS lost_timestamp,
  close_time::TIMESTAMP AS closed_timestamp,
  org_id::BIGINT AS organization_id,
  COALESCE(is_deleted, FALSE)::BOOLEAN AS is_deleted,
  COALESCE(is_archived, FALSE)::BOOLEAN AS is_archived,
  NULLIF(custom_fields::TEXT, '')::TEXT AS custom_fields,
  @IF(@raw_schema = 'pipedrive_seed', NULL, loaded_at)::TIMESTAMP AS loaded_at
FROM @{raw_schema}.deals;

@note_processed()
