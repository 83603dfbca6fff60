AUDIT (
  name owner_entries_conserved
);

/* A returned row is a measure and step whose events, over all months and users, are not those of the facts. */
SELECT
  COALESCE(here.measure, facts.measure) AS measure,
  COALESCE(here.funnel_step, facts.funnel_step) AS funnel_step,
  here.total AS events_here,
  facts.total AS events_in_facts
FROM (
  SELECT
    measure,
    COALESCE(funnel_step, 0) AS funnel_step,
    SUM(events_count) AS total
  FROM @this_model
  GROUP BY
    measure,
    COALESCE(funnel_step, 0)
) AS here
FULL JOIN (
  SELECT
    'stage entries' AS measure,
    funnel_step,
    COUNT(*) AS total
  FROM pipedrive_analytics.fct_stage_entries
  WHERE
    stage_entry_num = 1 AND NOT funnel_step IS NULL
  GROUP BY
    funnel_step
  UNION ALL
  SELECT
    'sales calls' AS measure,
    funnel_step,
    COUNT(*) AS total
  FROM pipedrive_analytics.fct_activities
  WHERE
    NOT due_timestamp IS NULL
  GROUP BY
    funnel_step
  UNION ALL
  SELECT
    CASE WHEN is_completed THEN 'completed activities' ELSE 'planned activities' END AS measure,
    0 AS funnel_step,
    COUNT(*) AS total
  FROM pipedrive_analytics.fct_deal_activities
  WHERE
    NOT due_timestamp IS NULL
  GROUP BY
    is_completed
  UNION ALL
  SELECT
    'lost reasons' AS measure,
    0 AS funnel_step,
    COUNT(*) AS total
  FROM pipedrive_analytics.fct_deals
  WHERE
    NOT lost_reason IS NULL
  HAVING
    COUNT(*) > 0
) AS facts
  ON here.measure = facts.measure AND here.funnel_step = facts.funnel_step
WHERE
  COALESCE(here.total, 0) <> COALESCE(facts.total, 0)
