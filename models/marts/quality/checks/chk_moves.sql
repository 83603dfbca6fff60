MODEL (
  name pipedrive_quality.chk_moves,
  kind EMBEDDED,
  tags (
    quality
  ),
  grain (check_name, finding),
  description 'One row per row that a check returns: how deals move through the stages. A check is the CTE of its name; seeds/data_quality_checks.csv says how severe it is and what a row means. fct_data_quality_findings collects them, by deal: a run looks at the deals that were touched.',
  column_descriptions (
    check_name = 'Name of the check',
    finding = 'The returned row: its columns and their values',
    deal_id = 'Deal it is about; NULL when it is about none'
  )
);

WITH entries_outside_the_funnel AS (
  SELECT
    deal_id,
    stage_id
  FROM pipedrive_analytics.fct_deal_stage_history
  WHERE
    @was_touched(deal_id)
    AND funnel_step IS NULL
    AND NOT @is_listed(stage_id, @stages_outside_funnel)
), late_first_stages AS (
  SELECT
    deal_id,
    days_to_first_stage
  FROM pipedrive_analytics.fct_deals
  WHERE
    @was_touched(deal_id) AND days_to_first_stage >= 1
), repeated_stage_entries AS (
  SELECT
    deal_id,
    stage_id,
    stage_entry_num
  FROM pipedrive_analytics.fct_stage_entries
  WHERE
    @was_touched(deal_id) AND stage_entry_num > 1
), backward_moves AS (
  SELECT
    deal_id,
    previous_stage_id,
    stage_id,
    stage_entry_num
  FROM pipedrive_analytics.fct_stage_entries
  WHERE
    @was_touched(deal_id) AND move = 'backward'
), skipped_stages AS (
  SELECT
    deal_id,
    previous_stage_id,
    stage_id,
    stage_entry_num
  FROM pipedrive_analytics.fct_stage_entries
  WHERE
    @was_touched(deal_id) AND move = 'skipped'
), same_second_entries AS (
  SELECT
    deal_id,
    stage_entry_timestamp
  FROM pipedrive_analytics.fct_stage_entries
  WHERE
    @was_touched(deal_id)
  GROUP BY
    deal_id,
    stage_entry_timestamp
  HAVING
    COUNT(*) > 1
), lost_reasons_in_last_stage AS (
  SELECT
    deal_id,
    lost_reason
  FROM pipedrive_analytics.fct_deals
  WHERE
    @was_touched(deal_id)
    AND NOT lost_reason IS NULL
    AND furthest_funnel_step = (
      SELECT
        MAX(funnel_step)
      FROM pipedrive_analytics.dim_funnel_steps
      WHERE
        source = 'stage'
    )
)
SELECT
  'entries_outside_the_funnel'::TEXT AS check_name,
  @row_as_text(deal_id, stage_id)::TEXT AS finding,
  deal_id::BIGINT AS deal_id
FROM entries_outside_the_funnel
UNION ALL
SELECT
  'late_first_stages'::TEXT AS check_name,
  @row_as_text(deal_id, days_to_first_stage)::TEXT AS finding,
  deal_id::BIGINT AS deal_id
FROM late_first_stages
UNION ALL
SELECT
  'repeated_stage_entries'::TEXT AS check_name,
  @row_as_text(deal_id, stage_id, stage_entry_num)::TEXT AS finding,
  deal_id::BIGINT AS deal_id
FROM repeated_stage_entries
UNION ALL
SELECT
  'backward_moves'::TEXT AS check_name,
  @row_as_text(deal_id, previous_stage_id, stage_id, stage_entry_num)::TEXT AS finding,
  deal_id::BIGINT AS deal_id
FROM backward_moves
UNION ALL
SELECT
  'skipped_stages'::TEXT AS check_name,
  @row_as_text(deal_id, previous_stage_id, stage_id, stage_entry_num)::TEXT AS finding,
  deal_id::BIGINT AS deal_id
FROM skipped_stages
UNION ALL
SELECT
  'same_second_entries'::TEXT AS check_name,
  @row_as_text(deal_id, stage_entry_timestamp)::TEXT AS finding,
  deal_id::BIGINT AS deal_id
FROM same_second_entries
UNION ALL
SELECT
  'lost_reasons_in_last_stage'::TEXT AS check_name,
  @row_as_text(deal_id, lost_reason)::TEXT AS finding,
  deal_id::BIGINT AS deal_id
FROM lost_reasons_in_last_stage
