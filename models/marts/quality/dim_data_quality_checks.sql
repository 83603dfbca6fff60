MODEL (
  name pipedrive_analytics.dim_data_quality_checks,
  kind SEED (
    path '$root/seeds/data_quality_checks.csv',
    csv_settings (keep_default_na = FALSE, na_values = '')
  ),
  tags (marts, quality),
  grain check_name,
  audits (
    not_null(columns := (check_name, severity, meaning)),
    unique_values(columns := check_name),
    accepted_values(column := severity, is_in := ('warning', 'info'))
  ),
  description 'One row per data quality check, also those that find nothing, as listed in seeds/data_quality_checks.csv. Join fct_data_quality_findings on check_name. Answers what is checked.',
  column_descriptions (
    check_name = 'Name of the check: the CTE in models/marts/quality/checks/ that holds its rule',
    severity = 'warning (somebody should look; every plan counts it) or info (usual in exports, good to know)',
    checked_table = 'Table of whose rows the returned ones are a share; NULL when they are rows of none',
    meaning = 'Meaning of a row that the check returns, and what becomes of it'
  ),
  columns (
    check_name TEXT,
    severity TEXT,
    checked_table TEXT,
    meaning TEXT
  ),
  ignored_rules (
    nomissingunittest
  ) /* a SEED has no query; pytest covers its gates */
);

@INSERT_SEED();

@postgres_analyze()
