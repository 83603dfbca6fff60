MODEL (
  name pipedrive_analytics.rep_owner_outcomes_monthly,
  kind FULL,
  tags (marts, report),
  grain (month, user_id, pipeline_id, currency),
  audits (
    not_null(
      columns := (month, user_id, pipeline_id, currency, won_deals_count, lost_deals_count, as_of)
    ),
    unique_combination_of_columns(columns := (month, user_id, pipeline_id, currency)),
    totals_conserved(
      key := month,
      total := SUM(won_deals_count),
      source := pipedrive_analytics.fct_deals,
      source_key := DATE_TRUNC('MONTH', won_at)::DATE,
      source_total := COUNT(*),
      source_condition := NOT won_at IS NULL
    ),
    totals_conserved(
      key := month,
      total := SUM(lost_deals_count),
      source := pipedrive_analytics.fct_deals,
      source_key := DATE_TRUNC('MONTH', lost_at)::DATE,
      source_total := COUNT(*),
      source_condition := NOT lost_at IS NULL
    ),
    totals_conserved(
      key := currency,
      total := SUM(won_value),
      source := pipedrive_analytics.fct_deals,
      source_key := COALESCE(currency, 'unknown'),
      source_total := SUM(value),
      source_condition := NOT won_at IS NULL
    ),
    totals_conserved(
      key := user_id::TEXT || ' ' || currency,
      total := SUM(open_deals_count),
      source := pipedrive_analytics.fct_deals,
      source_key := COALESCE(owner_user_id, -1)::TEXT || ' ' || COALESCE(currency, 'unknown'),
      source_total := COUNT(*),
      source_condition := status = 'open'
    ),
    totals_conserved(
      key := currency,
      total := SUM(open_value),
      source := pipedrive_analytics.fct_deals,
      source_key := COALESCE(currency, 'unknown'),
      source_total := SUM(value),
      source_condition := status = 'open'
    )
  ),
  description 'One row per month, user, pipeline and currency: the deals that were won and lost in the month by who owned them then, and in the month of the execution date the deals that are open by who owns them now. Join dim_users on user_id and dim_pipelines on pipeline_id. Answers who wins, how much, and what they still have. Without status in the source it has no rows; a closed deal whose time of closing is unknown is left out.',
  column_descriptions (
    month = 'First day of the month of closing, UTC; of the execution date for deals that are open',
    user_id = 'User who owned the deals when they were closed, or owns the open ones; -1 when the log tells no owner at that time',
    user_name = 'Name of the user; NULL when unknown',
    pipeline_id = 'Pipeline of the deals; -1 when unknown',
    pipeline_name = 'Label of the pipeline; NULL when unknown',
    currency = 'Code of the currency of all values of the row; unknown when the deals have none',
    won_deals_count = 'Number of deals won in the month',
    lost_deals_count = 'Number of deals lost in the month',
    win_rate = 'won_deals_count / (won_deals_count + lost_deals_count): 0.25 is 25 %; NULL when none was closed',
    won_value = 'Sum of the values of the won deals, in the currency; NULL when none has a value',
    open_deals_count = 'Number of deals that are open at the execution date; NULL in the rows of other months',
    open_value = 'Sum of their values, in the currency; NULL when none has a value, and in the rows of other months',
    as_of = 'Execution date, UTC: open deals are in the row of its month'
  )
);

WITH known AS (
  SELECT
    deal_id,
    COALESCE(pipeline_id, -1) AS pipeline_id,
    COALESCE(currency, 'unknown') AS currency,
    status,
    value,
    owner_user_id,
    COALESCE(won_at, lost_at) AS closed_at
  FROM pipedrive_analytics.fct_deals
  WHERE
    NOT status IS NULL
), owned AS (
  SELECT
    DATE_TRUNC('MONTH', known.closed_at)::DATE AS month,
    COALESCE(owners.user_id, -1) AS user_id,
    known.pipeline_id,
    known.currency,
    known.status,
    known.value
  FROM known
  LEFT JOIN pipedrive_analytics.dim_deal_owner_history AS owners
    ON known.deal_id = owners.deal_id
    AND owners.valid_from <= known.closed_at
    AND known.closed_at < COALESCE(owners.valid_to, '9999-12-31'::TIMESTAMP)
  WHERE
    NOT known.closed_at IS NULL
  UNION ALL
  SELECT
    DATE_TRUNC('MONTH', @execution_ds::DATE)::DATE AS month,
    COALESCE(owner_user_id, -1) AS user_id,
    pipeline_id,
    currency,
    status,
    value
  FROM known
  WHERE
    status = 'open'
), sums AS (
  SELECT
    month,
    user_id,
    pipeline_id,
    currency,
    COUNT(CASE WHEN status = 'won' THEN 1 END) AS won_deals_count,
    COUNT(CASE WHEN status = 'lost' THEN 1 END) AS lost_deals_count,
    SUM(CASE WHEN status = 'won' THEN value END) AS won_value,
    COUNT(CASE WHEN status = 'open' THEN 1 END) AS open_deals_count,
    SUM(CASE WHEN status = 'open' THEN value END) AS open_value
  FROM owned
  GROUP BY
    month,
    user_id,
    pipeline_id,
    currency
)
SELECT
  sums.month::DATE AS month,
  sums.user_id::BIGINT AS user_id,
  users.user_name::TEXT AS user_name,
  sums.pipeline_id::BIGINT AS pipeline_id,
  pipelines.pipeline_name::TEXT AS pipeline_name,
  sums.currency::TEXT AS currency,
  sums.won_deals_count::BIGINT AS won_deals_count,
  sums.lost_deals_count::BIGINT AS lost_deals_count,
  @share(sums.won_deals_count, sums.won_deals_count + sums.lost_deals_count)::DECIMAL(12, 4) AS win_rate,
  sums.won_value::DECIMAL(18, 3) AS won_value,
  CASE
    WHEN sums.month = DATE_TRUNC('MONTH', @execution_ds::DATE)::DATE
    THEN sums.open_deals_count
  END::BIGINT AS open_deals_count,
  sums.open_value::DECIMAL(18, 3) AS open_value,
  @execution_ds::DATE AS as_of
FROM sums
LEFT JOIN pipedrive_analytics.dim_users AS users
  ON sums.user_id = users.user_id
LEFT JOIN pipedrive_analytics.dim_pipelines AS pipelines
  ON sums.pipeline_id = pipelines.pipeline_id;

@postgres_analyze()
