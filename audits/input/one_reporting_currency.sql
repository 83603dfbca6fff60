AUDIT (
  name one_reporting_currency
);

/* A returned row is an exchange rate that is not positive, or that is into another reporting currency than others, or of the reporting currency into itself and not 1: values could not be added up. */
SELECT
  currency,
  reporting_currency,
  valid_from,
  rate
FROM @this_model
WHERE
  rate <= 0
  OR (
    currency = reporting_currency AND rate <> 1
  )
  OR reporting_currency <> (
    SELECT
      MIN(reporting_currency)
    FROM @this_model
  )
