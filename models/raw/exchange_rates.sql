MODEL (
  name pipedrive_seed.exchange_rates,
  kind SEED (
    path '$root/seeds/exchange_rates.csv',
    csv_settings (keep_default_na = FALSE, na_values = '')
  ),
  tags (
    raw
  ),
  grain (currency, valid_from),
  audits (
    not_null(columns := (currency, reporting_currency, valid_from, rate)),
    unique_combination_of_columns(columns := (currency, valid_from)),
    one_reporting_currency
  ),
  description 'One row per currency and day from which a rate holds, as in seeds/exchange_rates.csv, which may be empty. Always on: the rates are yours, wherever the raw tables are. stg_exchange_rates renames it.',
  column_descriptions (
    currency = 'Code of the currency',
    reporting_currency = 'Code of the currency in which all values are reported; one for all rows',
    valid_from = 'First day on which the rate holds, until the next one does',
    rate = 'Value of one unit of the currency, in the reporting currency'
  ),
  columns (
    currency TEXT,
    reporting_currency TEXT,
    valid_from TEXT,
    rate DECIMAL(18, 8)
  ),
  ignored_rules (
    nomissingunittest
  ) /* a SEED has no query; pytest covers its gates */
);

@INSERT_SEED();

@postgres_analyze()
