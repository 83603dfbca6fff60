MODEL (
  name pipedrive_seed.funnel_steps,
  kind SEED (
    path '$root/seeds/funnel_steps.csv',
    csv_settings (keep_default_na = FALSE, na_values = '')
  ),
  tags (
    raw
  ),
  grain funnel_step,
  audits (
    not_null(columns := (funnel_step, kpi_name, source, key)),
    unique_values(columns := (funnel_step, kpi_name)),
    unique_combination_of_columns(columns := (source, key)),
    accepted_values(column := source, is_in := ('stage', 'activity'))
  ),
  description 'One row per step of the sales funnel, as in seeds/funnel_steps.csv: the mapping of pipeline stages and call types to steps. Always on: the mapping is yours, wherever the raw tables are. stg_funnel_steps renames it.',
  column_descriptions (
    funnel_step = 'Position in the funnel: whole for a stage, with a decimal for a call that follows it',
    kpi_name = 'Name of the step in reports',
    source = 'Origin of the step: stage or activity',
    key = 'Stage id, or key of the activity type'
  ),
  columns (
    funnel_step DECIMAL(4, 1),
    kpi_name TEXT,
    source TEXT,
    key TEXT
  ),
  ignored_rules (
    nomissingunittest
  ) /* a SEED has no query; pytest covers its gates */
);

@INSERT_SEED();

@postgres_analyze()
