AUDIT (
  name entries_are_in_funnel
);

/* A returned row says that many first entries are into stages without a step: seeds/funnel_steps.csv lacks a stage, or the deals of another pipeline were landed. If a stage is to be no step, list it in the variable stages_outside_funnel. */
SELECT
  COUNT(*) AS entries,
  SUM(CASE WHEN funnel_step IS NULL THEN 1 ELSE 0 END) AS entries_outside
FROM @this_model
WHERE
  NOT @is_listed(stage_id, @stages_outside_funnel)
HAVING
  SUM(CASE WHEN funnel_step IS NULL THEN 1 ELSE 0 END) > @entries_outside_funnel_at_most::DECIMAL(4, 2) * COUNT(*)
