MODEL (
  name pipedrive_analytics.rep_time_in_stage,
  kind FULL,
  tags (marts, report),
  grain (stage_id, month),
  audits (
    not_null(columns := (stage_id, month, exits_count, deals_count, as_of)),
    unique_combination_of_columns(columns := (stage_id, month)),
    non_negative(
      columns := (average_days, median_days, p90_days, average_age_days, median_age_days)
    ),
    totals_conserved(
      key := stage_id,
      total := SUM(exits_count + COALESCE(still_there_count, 0)),
      source := pipedrive_analytics.fct_stage_entries,
      source_key := stage_id,
      source_total := COUNT(*)
    ),
    totals_conserved(
      key := stage_id,
      total := SUM(entries_count),
      source := pipedrive_analytics.rep_time_in_stage,
      source_key := stage_id,
      source_total := SUM(exits_count + COALESCE(still_there_count, 0))
    )
  ),
  description 'One row per stage and month in which a deal left it, and one per stage for the month of the execution date, also with the deals that are still there. Join dim_stages on stage_id. Answers how long deals stay in a stage, and what is stuck there. The days are of deals that left: read them beside share_still_there, since who never leaves has none.',
  column_descriptions (
    stage_id = 'Stage the deals were in',
    stage_name = 'Label of the stage; NULL when unknown',
    funnel_step = 'Funnel step the stage fills; NULL for a stage outside the funnel',
    month = 'First day of the month of exit, UTC; of the execution date for deals that are still there',
    exits_count = 'Number of exits from the stage in the month; a deal that returned has several, and an entry into the same stage again is an exit too',
    deals_count = 'Number of distinct deals that left the stage in the month',
    average_days = 'Mean of days from entry to exit; NULL without exits',
    median_days = 'Median of days from entry to exit; NULL without exits',
    p90_days = '90th percentile of days from entry to exit, interpolated between the two nearest exits; NULL without exits',
    entries_count = 'Number of entries into the stage, of all months, repeats included; NULL in the rows of months other than that of the execution date',
    still_there_count = 'Number of these entries without an exit: deals in the stage at the execution date; NULL in the rows of other months',
    share_still_there = 'still_there_count / entries_count: 0.25 is 25 %; NULL in the rows of other months',
    average_age_days = 'Mean of days from their entry to the beginning of the execution date, 0 for who came later; NULL without such deals',
    median_age_days = 'Median of the same',
    as_of = 'Execution date, UTC: deals still there, and their ages, are of this day'
  )
);

WITH exits AS (
  SELECT
    stage_id,
    DATE_TRUNC('MONTH', stage_exit_timestamp)::DATE AS month,
    COUNT(*) AS exits_count,
    COUNT(DISTINCT deal_id) AS deals_count,
    AVG(seconds_in_stage) AS average_seconds,
    @percentile(0.5, seconds_in_stage) AS median_seconds,
    @percentile(0.9, seconds_in_stage) AS p90_seconds
  FROM pipedrive_analytics.fct_stage_entries
  WHERE
    NOT stage_exit_timestamp IS NULL
  GROUP BY
    stage_id,
    DATE_TRUNC('MONTH', stage_exit_timestamp)::DATE
), entries AS (
  SELECT
    stage_id,
    COUNT(*) AS entries_count
  FROM pipedrive_analytics.fct_stage_entries
  GROUP BY
    stage_id
), ages AS (
  SELECT
    stage_id,
    GREATEST(@seconds_between(stage_entry_timestamp, @execution_ds::TIMESTAMP), 0) AS age_seconds
  FROM pipedrive_analytics.fct_stage_entries
  WHERE
    stage_exit_timestamp IS NULL
), still_there AS (
  SELECT
    stage_id,
    COUNT(*) AS still_there_count,
    AVG(age_seconds) AS average_age_seconds,
    @percentile(0.5, age_seconds) AS median_age_seconds
  FROM ages
  GROUP BY
    stage_id
), stays AS (
  SELECT
    entries.stage_id,
    DATE_TRUNC('MONTH', @execution_ds::DATE)::DATE AS month,
    entries.entries_count,
    COALESCE(still_there.still_there_count, 0) AS still_there_count,
    still_there.average_age_seconds,
    still_there.median_age_seconds
  FROM entries
  LEFT JOIN still_there
    ON entries.stage_id = still_there.stage_id
), months AS (
  SELECT
    COALESCE(exits.stage_id, stays.stage_id) AS stage_id,
    COALESCE(exits.month, stays.month) AS month,
    exits.exits_count,
    exits.deals_count,
    exits.average_seconds,
    exits.median_seconds,
    exits.p90_seconds,
    stays.entries_count,
    stays.still_there_count,
    stays.average_age_seconds,
    stays.median_age_seconds
  FROM exits
  FULL JOIN stays
    ON exits.stage_id = stays.stage_id AND exits.month = stays.month
)
SELECT
  months.stage_id::BIGINT AS stage_id,
  stages.stage_name::TEXT AS stage_name,
  steps.funnel_step::DECIMAL(4, 1) AS funnel_step,
  months.month::DATE AS month,
  COALESCE(months.exits_count, 0)::BIGINT AS exits_count,
  COALESCE(months.deals_count, 0)::BIGINT AS deals_count,
  @days(months.average_seconds)::DECIMAL(12, 2) AS average_days,
  @days(months.median_seconds)::DECIMAL(12, 2) AS median_days,
  @days(months.p90_seconds)::DECIMAL(12, 2) AS p90_days,
  months.entries_count::BIGINT AS entries_count,
  months.still_there_count::BIGINT AS still_there_count,
  @share(months.still_there_count, months.entries_count)::DECIMAL(12, 4) AS share_still_there,
  @days(months.average_age_seconds)::DECIMAL(12, 2) AS average_age_days,
  @days(months.median_age_seconds)::DECIMAL(12, 2) AS median_age_days,
  @execution_ds::DATE AS as_of
FROM months
LEFT JOIN pipedrive_analytics.dim_stages AS stages
  ON months.stage_id = stages.stage_id
LEFT JOIN pipedrive_analytics.dim_funnel_steps AS steps
  ON steps.source = 'stage' AND steps.key = months.stage_id::TEXT;

@postgres_analyze()
