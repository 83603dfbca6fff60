MODEL (
  name pipedrive_analytics.dim_exchange_rates,
  kind FULL,
  tags (
    marts
  ),
  grain (currency, valid_from),
  audits (
    not_null(columns := (currency, reporting_currency, valid_from, rate)),
    unique_combination_of_columns(columns := (currency, valid_from))
  ),
  description 'One row per currency and time in which an exchange rate holds, from seeds/exchange_rates.csv; the reporting currency itself has the rate 1. It has no rows where that file is empty. Join fct_deals on currency, and on the day of closing where there is one; for open deals the last rate, whose valid_to is NULL, holds.',
  column_descriptions (
    currency = 'Code of the currency',
    reporting_currency = 'Code of the currency in which all values are reported; the same in all rows',
    valid_from = 'First day on which the rate holds',
    valid_to = 'First day on which it no longer does; NULL for the last rate of the currency',
    rate = 'Value of one unit of the currency, in the reporting currency'
  )
);

WITH rates AS (
  SELECT
    currency,
    reporting_currency,
    valid_from,
    rate
  FROM pipedrive_staging.stg_exchange_rates
  WHERE
    currency <> reporting_currency
  UNION ALL
  SELECT
    reporting_currency AS currency,
    reporting_currency,
    MIN('1970-01-01'::DATE) AS valid_from,
    1 AS rate
  FROM pipedrive_staging.stg_exchange_rates
  GROUP BY
    reporting_currency
)
SELECT
  currency::TEXT AS currency,
  reporting_currency::TEXT AS reporting_currency,
  valid_from::DATE AS valid_from,
  LEAD(valid_from) OVER (PARTITION BY currency ORDER BY valid_from)::DATE AS valid_to,
  rate::DECIMAL(18, 8) AS rate
FROM rates;

@postgres_analyze()
