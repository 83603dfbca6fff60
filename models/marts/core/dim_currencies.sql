MODEL (
  name pipedrive_analytics.dim_currencies,
  kind SEED (
    path '$root/seeds/currencies.csv',
    csv_settings (keep_default_na = FALSE, na_values = '')
  ),
  tags (
    marts
  ),
  grain currency,
  audits (
    not_null(columns := (currency, currency_name)),
    unique_values(columns := currency)
  ),
  description 'One row per currency of ISO 4217, as listed in seeds/currencies.csv: those of today, and those that ended since 2010, which old deals have. Join fct_deals on currency. A code that is missing is a custom currency, or misspelt: the check unknown_currencies names the deals.',
  column_descriptions (
    currency = 'Code of the currency, such as EUR',
    currency_name = 'Name of the currency, and the year in which it ended if it did'
  ),
  columns (
    currency TEXT,
    currency_name TEXT
  ),
  ignored_rules (
    nomissingunittest
  ) /* a SEED has no query; pytest covers its gates */
);

@INSERT_SEED();

@postgres_analyze()
