MODEL (
  name pipedrive_seed.deal_changes,
  kind SEED (
    path '$root/seeds/deal_changes.csv',
    batch_size 10000,
    csv_settings (keep_default_na = FALSE, na_values = '')
  ),
  tags (
    raw
  ),
  grain (deal_id, change_time, changed_field_key, new_value),
  audits (
    not_null(columns := (deal_id, change_time, changed_field_key)),
    log_is_not_halved
  ),
  description 'One row per change of a deal, append-only, as in seeds/deal_changes.csv: creation, stage, owner, lost reason. stg_deal_changes parses it.',
  column_descriptions (
    deal_id = 'Deal that changed',
    change_time = 'When the deal changed, UTC',
    changed_field_key = 'Field that changed: add_time (creation), stage_id, user_id, lost_reason',
    new_value = 'The value after the change, as text'
  ),
  columns (
    deal_id BIGINT,
    change_time TEXT,
    changed_field_key TEXT,
    new_value TEXT
  ),
  enabled @IF(@raw_schema = 'pipedrive_seed', TRUE, FALSE),
  ignored_rules (
    nomissingunittest
  ) /* a SEED has no query; pytest covers its gates */
);

@INSERT_SEED();

@postgres_analyze()
