AUDIT (
  name first_entries_conserved
);

/* A returned row is a deal and stage that the stage history has and the fact lacks, or the other way round. */
SELECT
  COALESCE(facts.deal_id, entries.deal_id) AS deal_id,
  COALESCE(facts.stage_id, entries.stage_id) AS stage_id
FROM (
  SELECT
    deal_id,
    stage_id
  FROM @this_model
  WHERE
    @was_touched(deal_id)
) AS facts
FULL JOIN (
  SELECT DISTINCT
    deal_id,
    stage_id
  FROM pipedrive_intermediate.int_deal_stage_history
  WHERE
    @was_touched(deal_id)
) AS entries
  ON facts.deal_id = entries.deal_id AND facts.stage_id = entries.stage_id
WHERE
  facts.deal_id IS NULL OR entries.deal_id IS NULL
