AUDIT (
  name steps_bear_own_names,
  defaults (
    condition = TRUE
  )
);

/* A returned row is a step that bears the name of another stage or call type than its own: two keys in seeds/funnel_steps.csv were probably swapped. One label of the step that fits is enough, since labels change. If the name is meant, list the step in the variable steps_with_other_names. Argument: label is the column with the name of the stage or call type. */
WITH labelled_steps AS (
  SELECT DISTINCT
    funnel_step,
    kpi_name,
    @label AS own_label
  FROM @this_model
  WHERE
    NOT @label IS NULL AND NOT funnel_step IS NULL AND @condition
)
SELECT
  steps.funnel_step,
  steps.kpi_name,
  steps.own_label,
  others.own_label AS label_of_that_name
FROM labelled_steps AS steps
JOIN labelled_steps AS others
  ON steps.kpi_name LIKE '%: ' || others.own_label
WHERE
  NOT steps.funnel_step IN (
    SELECT
      named.funnel_step
    FROM labelled_steps AS named
    WHERE
      named.kpi_name LIKE '%: ' || named.own_label
  )
  AND NOT @is_listed(steps.funnel_step, @steps_with_other_names)
