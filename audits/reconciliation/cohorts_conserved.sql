AUDIT (
  name cohorts_conserved
);

/* A returned row is a month of creation whose deals here are not those of fct_deals. */
SELECT
  COALESCE(cohorts.cohort_month, deals.cohort_month) AS cohort_month,
  cohorts.deals AS deals_here,
  deals.deals AS deals_created
FROM (
  SELECT DISTINCT
    cohort_month,
    cohort_deals_count AS deals
  FROM @this_model
) AS cohorts
FULL JOIN (
  SELECT
    DATE_TRUNC('MONTH', created_at)::DATE AS cohort_month,
    COUNT(DISTINCT deal_id) AS deals
  FROM pipedrive_analytics.fct_deals
  GROUP BY
    DATE_TRUNC('MONTH', created_at)::DATE
) AS deals
  ON cohorts.cohort_month = deals.cohort_month
WHERE
  COALESCE(cohorts.deals, -1) <> COALESCE(deals.deals, -1)
