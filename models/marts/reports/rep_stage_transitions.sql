MODEL (
  name pipedrive_analytics.rep_stage_transitions,
  kind FULL,
  tags (marts, report),
  grain (from_stage_id, to_stage_id),
  audits (
    not_null(
      columns := (
        from_stage_id,
        to_stage_id,
        move,
        transitions_count,
        share_of_exits,
        deals_count,
        median_days,
        p90_days
      )
    ),
    unique_combination_of_columns(columns := (from_stage_id, to_stage_id)),
    non_negative(columns := (median_days, p90_days)),
    totals_conserved(
      key := from_stage_id,
      total := SUM(transitions_count),
      source := pipedrive_analytics.fct_stage_entries,
      source_key := stage_id,
      source_total := COUNT(stage_exit_timestamp)
    ),
    totals_conserved(
      key := to_stage_id,
      total := SUM(deals_count),
      source := (
        SELECT DISTINCT
          deal_id,
          stage_id,
          previous_stage_id
        FROM pipedrive_analytics.fct_stage_entries
        WHERE
          NOT previous_stage_id IS NULL
      ),
      source_key := stage_id,
      source_total := COUNT(*)
    )
  ),
  description 'One row per pair of stages between which a deal moved. Join dim_stages on from_stage_id or to_stage_id. Answers where deals go from a stage, how often they skip or go back, and how long they stayed before.',
  column_descriptions (
    from_stage_id = 'Stage the deals left',
    from_stage = 'Label of that stage; NULL when unknown',
    to_stage_id = 'Stage they entered',
    to_stage = 'Label of that stage; NULL when unknown',
    move = 'forward (to the next stage of the funnel), skipped (further), backward, repeated (into the same stage), outside (from or to a stage outside the funnel)',
    transitions_count = 'Number of moves from the one to the other, repeats included',
    share_of_exits = 'transitions_count / all moves out of the stage that was left: 0.25 is 25 %',
    deals_count = 'Number of distinct deals that moved so',
    median_days = 'Median of days in the stage that was left, interpolated between the two middle moves of an even number',
    p90_days = '90th percentile of days in the stage that was left, interpolated between the two nearest moves'
  )
);

WITH transitions AS (
  SELECT
    previous_stage_id,
    stage_id,
    MAX(move) AS move, /* the same for all of a pair; PostgreSQL would sort the texts */
    COUNT(*) AS transitions_count,
    COUNT(DISTINCT deal_id) AS deals_count,
    @percentile(0.5, seconds_in_previous_stage) AS median_seconds,
    @percentile(0.9, seconds_in_previous_stage) AS p90_seconds
  FROM pipedrive_analytics.fct_stage_entries
  WHERE
    NOT previous_stage_id IS NULL
  GROUP BY
    previous_stage_id,
    stage_id
)
SELECT
  transitions.previous_stage_id::BIGINT AS from_stage_id,
  from_stages.stage_name::TEXT AS from_stage,
  transitions.stage_id::BIGINT AS to_stage_id,
  to_stages.stage_name::TEXT AS to_stage,
  transitions.move::TEXT AS move,
  transitions.transitions_count::BIGINT AS transitions_count,
  @share(
    transitions.transitions_count,
    SUM(transitions.transitions_count) OVER (PARTITION BY transitions.previous_stage_id)
  )::DECIMAL(12, 4) AS share_of_exits,
  transitions.deals_count::BIGINT AS deals_count,
  @days(transitions.median_seconds)::DECIMAL(12, 2) AS median_days,
  @days(transitions.p90_seconds)::DECIMAL(12, 2) AS p90_days
FROM transitions
LEFT JOIN pipedrive_analytics.dim_stages AS from_stages
  ON transitions.previous_stage_id = from_stages.stage_id
LEFT JOIN pipedrive_analytics.dim_stages AS to_stages
  ON transitions.stage_id = to_stages.stage_id;

@postgres_analyze()
