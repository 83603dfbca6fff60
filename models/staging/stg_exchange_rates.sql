MODEL (
  name pipedrive_staging.stg_exchange_rates,
  kind VIEW,
  tags (
    staging
  ),
  grain (currency, valid_from),
  audits (
    not_null(columns := (currency, valid_from)),
    unique_combination_of_columns(columns := (currency, valid_from))
  ),
  description 'One row per currency and day from which a rate holds, as listed in seeds/exchange_rates.csv. It has no rows where nobody has filled that file.',
  column_descriptions (
    currency = 'Code of the currency',
    reporting_currency = 'Code of the currency in which all values are reported',
    valid_from = 'First day on which the rate holds',
    rate = 'Value of one unit of the currency, in the reporting currency'
  )
);

SELECT
  currency::TEXT AS currency,
  reporting_currency::TEXT AS reporting_currency,
  valid_from::TIMESTAMP::DATE AS valid_from,
  rate::DECIMAL(18, 8) AS rate
FROM pipedrive_seed.exchange_rates
