MODEL (
  name pipedrive_seed.deals,
  kind SEED (
    path '$root/seeds/deals.csv',
    batch_size 10000,
    csv_settings (keep_default_na = FALSE, na_values = '')
  ),
  tags (
    raw
  ),
  grain deal_id,
  audits (
    not_null(columns := deal_id)
  ),
  description 'One row per deal as it stands: its pipeline, status and value, as in seeds/deals.csv. stg_deals parses it.',
  column_descriptions (
    deal_id = 'Identifier of the deal',
    title = 'Title of the deal',
    pipeline_id = 'Pipeline the deal is in',
    stage_id = 'Stage the deal is in',
    status = 'open, won or lost; empty when unknown',
    value = 'Value of the deal, in its currency',
    currency = 'Code of the currency, such as EUR',
    probability = 'Probability in per cent that somebody has given the deal; empty when nobody has',
    expected_close_date = 'Day on which the deal is expected to be closed',
    won_time = 'When the deal was won, UTC',
    lost_time = 'When the deal was lost, UTC',
    close_time = 'When the deal was closed, won or lost, UTC',
    org_id = 'Organization of the deal',
    is_deleted = 'True when the deal was deleted, merged into another one or turned into a lead',
    is_archived = 'True when the deal was archived',
    custom_fields = 'JSON object of the company''s own fields, by their keys'
  ),
  columns (
    deal_id BIGINT,
    title TEXT,
    pipeline_id BIGINT,
    stage_id BIGINT,
    status TEXT,
    value DECIMAL(18, 3),
    currency TEXT,
    probability BIGINT,
    expected_close_date TEXT,
    won_time TEXT,
    lost_time TEXT,
    close_time TEXT,
    org_id BIGINT,
    is_deleted BOOLEAN,
    is_archived BOOLEAN,
    custom_fields TEXT
  ),
  enabled @IF(@raw_schema = 'pipedrive_seed', TRUE, FALSE),
  ignored_rules (
    nomissingunittest
  ) /* a SEED has no query; pytest covers its gates */
);

@INSERT_SEED();

@postgres_analyze()
