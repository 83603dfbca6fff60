MODEL (
  name pipedrive_analytics.fct_deal_funnel_steps,
  kind INCREMENTAL_UNMANAGED (
    forward_only FALSE,
    disable_restatement FALSE
  ),
  tags (
    marts
  ),
  grain (deal_id, funnel_step),
  audits (
    not_null(
      columns := (
        deal_id,
        created_at,
        kpi_name,
        funnel_step,
        is_reached,
        is_reached_at_least,
        is_reached_in_order
      ),
      condition := @was_touched(deal_id)
    ),
    unique_combination_of_columns(columns := (deal_id, funnel_step), condition := @was_touched(deal_id)),
    non_negative(columns := seconds_to_reach, condition := @was_touched(deal_id)),
    forall(
      criteria := (
        (
          is_reached OR is_reached_at_least
        ),
        (
          is_reached OR NOT is_reached_in_order
        ),
        (
          is_reached_at_least OR NOT is_reached_in_order
        ),
        is_reached = (
          NOT reached_at IS NULL
        )
      ),
      condition := @was_touched(deal_id)
    ),
    totals_conserved(
      key := deal_id,
      total := SUM(funnel_step),
      condition := is_reached
      AND funnel_step IN (
        SELECT
          funnel_step
        FROM pipedrive_analytics.dim_funnel_steps
        WHERE
          source = 'stage'
      )
      AND @was_touched(deal_id),
      source := pipedrive_analytics.fct_deal_stage_history,
      source_key := deal_id,
      source_total := SUM(funnel_step),
      source_condition := NOT funnel_step IS NULL AND @was_touched(deal_id)
    )
  ),
  description 'One row per deal and funnel step that it reached in any of three countings: in any order, at least, in order. Join fct_deals on deal_id and dim_funnel_steps on funnel_step. Answers which deals got how far, and how fast; rep_funnel_cohorts counts its rows.',
  column_descriptions (
    deal_id = 'Identifier of the deal',
    created_at = 'When the deal was created, UTC',
    kpi_name = 'Name of the funnel step',
    funnel_step = 'Position of the step in the funnel',
    is_reached = 'TRUE when the deal ever was in the step, in any order: it entered the stage, or its call was held and has a due time',
    is_reached_at_least = 'TRUE when it was in the stage or in a later one; for a call, when it got to the stage before it and the call was held, or went further',
    is_reached_in_order = 'TRUE when it reached the step and had, by first entries, passed every earlier stage of the funnel, one after the other; for a call the stages before it, whenever it was held',
    is_previous_stage_step_reached = 'TRUE when it ever was in the last stage step before this one, in any order; NULL for the first',
    reached_at = 'When it first was in the step, UTC: its first entry, or the due time of its first call; NULL when it was only in a later one',
    seconds_to_reach = 'Seconds from creation to reached_at; NULL when that is NULL, or before the creation'
  )
);

@forget_touched_deals();

WITH reached AS (
  SELECT
    entries.deal_id,
    entries.funnel_step,
    entries.stage_entry_timestamp AS reached_at
  FROM pipedrive_analytics.fct_deal_stage_history AS entries
  WHERE
    @was_touched(entries.deal_id) AND NOT entries.funnel_step IS NULL
  UNION ALL
  SELECT
    calls.deal_id,
    calls.funnel_step,
    MIN(calls.due_timestamp) AS reached_at
  FROM pipedrive_analytics.fct_activities AS calls
  WHERE
    @was_touched(calls.deal_id) AND NOT calls.due_timestamp IS NULL
  GROUP BY
    calls.deal_id,
    calls.funnel_step
), deal_steps AS (
  /* A call is in order, and counts at all, from the stage before it on; before the first is none */
  SELECT
    deals.deal_id,
    deals.created_at,
    steps.kpi_name,
    steps.funnel_step,
    steps.previous_stage_step,
    reached.reached_at,
    steps.source = 'activity' AND steps.previous_stage_step IS NULL AS is_before_stages,
    CASE
      WHEN steps.source = 'stage'
      THEN steps.funnel_step
      ELSE steps.previous_stage_step
    END AS stage_step,
    deals.furthest_funnel_step,
    deals.furthest_funnel_step_in_order,
    MAX(
      CASE
        WHEN steps.source = 'stage' AND NOT reached.reached_at IS NULL
        THEN steps.funnel_step
      END
    ) OVER (
      PARTITION BY deals.deal_id
      ORDER BY steps.funnel_step
      ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING
    ) AS last_stage_step_reached /* A window, and not another join: rows then lie in the order of their deals, in few pages each */
  FROM pipedrive_analytics.fct_deals AS deals
  CROSS JOIN pipedrive_analytics.dim_funnel_steps AS steps
  LEFT JOIN reached
    ON deals.deal_id = reached.deal_id AND steps.funnel_step = reached.funnel_step
  WHERE
    @was_touched(deals.deal_id)
    AND (
      NOT reached.reached_at IS NULL OR deals.furthest_funnel_step >= steps.funnel_step
    )
)
SELECT
  deal_id::BIGINT AS deal_id,
  created_at::TIMESTAMP AS created_at,
  kpi_name::TEXT AS kpi_name,
  funnel_step::DECIMAL(4, 1) AS funnel_step,
  (
    NOT reached_at IS NULL
  )::BOOLEAN AS is_reached,
  (
    is_before_stages OR COALESCE(stage_step <= furthest_funnel_step, FALSE)
  )::BOOLEAN AS is_reached_at_least,
  (
    NOT reached_at IS NULL
    AND (
      is_before_stages OR COALESCE(stage_step <= furthest_funnel_step_in_order, FALSE)
    )
  )::BOOLEAN AS is_reached_in_order,
  CASE
    WHEN NOT previous_stage_step IS NULL
    THEN COALESCE(last_stage_step_reached = previous_stage_step, FALSE)
  END::BOOLEAN AS is_previous_stage_step_reached,
  reached_at::TIMESTAMP AS reached_at,
  CASE
    WHEN reached_at >= created_at
    THEN @seconds_between(created_at, reached_at)
  END::BIGINT AS seconds_to_reach
FROM deal_steps;

@postgres_index(deal_id);

@note_processed(pipedrive_intermediate.int_touched_deals);

@postgres_analyze()
