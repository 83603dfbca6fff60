MODEL (
  name pipedrive_seed.activity,
  kind SEED (
    path '$root/seeds/activity.csv',
    batch_size 10000,
    csv_settings (keep_default_na = FALSE, na_values = '')
  ),
  tags (
    raw
  ),
  grain (activity_id, deal_id),
  audits (
    not_null(columns := (activity_id, deal_id))
  ),
  description 'One row per activity and deal of the CRM, done or planned, as in seeds/activity.csv. stg_activity parses it.',
  column_descriptions (
    activity_id = 'Identifier of the activity; repeats across deals, the key is (activity_id, deal_id)',
    type = 'Key of the activity type, as in activity_types.type',
    assigned_to_user = 'User who owns the activity',
    deal_id = 'Deal the activity belongs to',
    done = 'True when the activity is completed',
    due_to = 'When the activity is or was due, UTC'
  ),
  columns (
    activity_id BIGINT,
    type TEXT,
    assigned_to_user BIGINT,
    deal_id BIGINT,
    done BOOLEAN,
    due_to TEXT
  ),
  enabled @IF(@raw_schema = 'pipedrive_seed', TRUE, FALSE),
  ignored_rules (
    nomissingunittest
  ) /* a SEED has no query; pytest covers its gates */
);

@INSERT_SEED();

@postgres_analyze()
