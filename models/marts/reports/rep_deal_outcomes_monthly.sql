MODEL (
  name pipedrive_analytics.rep_deal_outcomes_monthly,
  kind FULL,
  tags (marts, report),
  grain (counted_by, month, pipeline_id, currency),
  audits (
    not_null(
      columns := (
        counted_by,
        month,
        pipeline_id,
        currency,
        deals_count,
        won_deals_count,
        lost_deals_count,
        open_deals_count
      )
    ),
    unique_combination_of_columns(columns := (counted_by, month, pipeline_id, currency)),
    accepted_values(column := counted_by, is_in := ('creation', 'closing')),
    non_negative(columns := (median_days_to_win, p90_days_to_win)),
    forall(
      criteria := (
        deals_count = won_deals_count + lost_deals_count + open_deals_count,
        ABS(win_rate * (
          won_deals_count + lost_deals_count
        ) - won_deals_count) <= 0.0001 * deals_count
      )
    ),
    totals_conserved(
      key := month,
      total := SUM(deals_count),
      condition := counted_by = 'creation',
      source := pipedrive_analytics.fct_deals,
      source_key := DATE_TRUNC('MONTH', created_at)::DATE,
      source_total := COUNT(*),
      source_condition := NOT status IS NULL
    ),
    totals_conserved(
      key := currency,
      total := SUM(COALESCE(won_value, 0)),
      condition := counted_by = 'closing',
      source := pipedrive_analytics.fct_deals,
      source_key := COALESCE(currency, 'unknown'),
      source_total := SUM(COALESCE(CASE WHEN status = 'won' THEN value END, 0)),
      source_condition := NOT COALESCE(won_at, lost_at) IS NULL
    )
  ),
  description 'One row per month, pipeline and currency, in two sets that must not be mixed: deals counted by the month of their creation, and by the month of their closing. Join dim_pipelines on pipeline_id. Answers how much is won. Without status in the source it has no rows; a closed deal whose time of closing is unknown is in the first set only.',
  column_descriptions (
    counted_by = 'creation or closing: what the month is of',
    month = 'First day of the month, UTC',
    pipeline_id = 'Pipeline of the deals; -1 when unknown',
    pipeline_name = 'Label of the pipeline; NULL when unknown',
    currency = 'Code of the currency of all values of the row; unknown when the deals have none',
    deals_count = 'Number of deals created, or closed, in the month',
    won_deals_count = 'Number of them that are won',
    lost_deals_count = 'Number of them that are lost',
    open_deals_count = 'Number of them that are still open; 0 for deals counted by closing',
    win_rate = 'won_deals_count / (won_deals_count + lost_deals_count): 0.25 is 25 %; NULL when none is closed',
    won_value = 'Sum of the values of the won deals, in the currency; NULL when none has a value',
    won_value_in_reporting_currency = 'The same sum in the reporting currency of dim_exchange_rates, each deal by the rate of the day on which it was won, or by the last one when that day is unknown: it may be added up over currencies. NULL when a deal with a value has no rate',
    average_won_value = 'won_value / number of won deals that have a value, in the currency',
    median_days_to_win = 'Median of days from creation to winning, of the won deals: the sales cycle',
    p90_days_to_win = '90th percentile of the same, interpolated between the two nearest deals',
    sales_velocity = 'won_value / median_days_to_win, in the currency per day. It is the formula closed deals x win rate x average won value / sales cycle, shortened'
  )
);

WITH known AS (
  SELECT
    COALESCE(deals.pipeline_id, -1) AS pipeline_id,
    COALESCE(deals.currency, 'unknown') AS currency,
    deals.status,
    CASE WHEN deals.status = 'won' THEN deals.value END AS won_value,
    CASE WHEN deals.status = 'won' THEN deals.value * rates.rate END AS converted_value,
    deals.created_at,
    deals.won_at,
    COALESCE(deals.won_at, deals.lost_at) AS closed_at
  FROM pipedrive_analytics.fct_deals AS deals
  LEFT JOIN pipedrive_analytics.dim_exchange_rates AS rates
    ON deals.currency = rates.currency AND @rate_holds(deals.won_at, rates)
  WHERE
    NOT deals.status IS NULL
), deals AS (
  SELECT
    'creation' AS counted_by,
    DATE_TRUNC('MONTH', created_at)::DATE AS month,
    pipeline_id,
    currency,
    status,
    won_value,
    converted_value,
    created_at,
    won_at
  FROM known
  UNION ALL
  SELECT
    'closing' AS counted_by,
    DATE_TRUNC('MONTH', closed_at)::DATE AS month,
    pipeline_id,
    currency,
    status,
    won_value,
    converted_value,
    created_at,
    won_at
  FROM known
  WHERE
    NOT closed_at IS NULL
), counts AS (
  SELECT
    counted_by,
    month,
    pipeline_id,
    currency,
    COUNT(*) AS deals_count,
    COUNT(CASE WHEN status = 'won' THEN 1 END) AS won_deals_count,
    COUNT(CASE WHEN status = 'lost' THEN 1 END) AS lost_deals_count,
    COUNT(CASE WHEN status = 'open' THEN 1 END) AS open_deals_count,
    SUM(won_value) AS won_value,
    COUNT(won_value) AS valued_deals_count,
    SUM(converted_value) AS converted_value,
    COUNT(converted_value) AS converted_deals_count,
    @percentile(0.5, CASE WHEN won_at >= created_at THEN @seconds_between(created_at, won_at) END) AS median_seconds,
    @percentile(0.9, CASE WHEN won_at >= created_at THEN @seconds_between(created_at, won_at) END) AS p90_seconds
  FROM deals
  GROUP BY
    counted_by,
    month,
    pipeline_id,
    currency
)
SELECT
  counts.counted_by::TEXT AS counted_by,
  counts.month::DATE AS month,
  counts.pipeline_id::BIGINT AS pipeline_id,
  pipelines.pipeline_name::TEXT AS pipeline_name,
  counts.currency::TEXT AS currency,
  counts.deals_count::BIGINT AS deals_count,
  counts.won_deals_count::BIGINT AS won_deals_count,
  counts.lost_deals_count::BIGINT AS lost_deals_count,
  counts.open_deals_count::BIGINT AS open_deals_count,
  @share(counts.won_deals_count, counts.won_deals_count + counts.lost_deals_count)::DECIMAL(12, 4) AS win_rate,
  counts.won_value::DECIMAL(18, 3) AS won_value,
  CASE
    WHEN counts.converted_deals_count = counts.valued_deals_count
    THEN counts.converted_value
  END::DECIMAL(18, 2) AS won_value_in_reporting_currency,
  @amount(counts.won_value, counts.valued_deals_count)::DECIMAL(18, 2) AS average_won_value,
  @days(counts.median_seconds)::DECIMAL(12, 2) AS median_days_to_win,
  @days(counts.p90_seconds)::DECIMAL(12, 2) AS p90_days_to_win,
  @amount(counts.won_value * 86400, counts.median_seconds)::DECIMAL(18, 2) AS sales_velocity
FROM counts
LEFT JOIN pipedrive_analytics.dim_pipelines AS pipelines
  ON counts.pipeline_id = pipelines.pipeline_id;

@postgres_analyze()
