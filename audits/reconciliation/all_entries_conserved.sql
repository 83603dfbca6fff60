AUDIT (
  name all_entries_conserved
);

/* A returned row is a deal with more or fewer entries into stages than the stage history has, or with more than one stage that it is in. */
SELECT
  COALESCE(facts.deal_id, history.deal_id) AS deal_id
FROM (
  SELECT
    deal_id,
    COUNT(*) AS entries,
    COUNT(stage_exit_timestamp) AS exits
  FROM @this_model
  WHERE
    @was_touched(deal_id)
  GROUP BY
    deal_id
) AS facts
FULL JOIN (
  SELECT
    deal_id,
    COUNT(*) AS entries
  FROM pipedrive_intermediate.int_deal_stage_history
  WHERE
    @was_touched(deal_id)
  GROUP BY
    deal_id
) AS history
  ON facts.deal_id = history.deal_id
WHERE
  COALESCE(facts.entries, 0) <> COALESCE(history.entries, 0)
  OR facts.exits <> facts.entries - 1
