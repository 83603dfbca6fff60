AUDIT (
  name steps_bear_own_names
);

/* A returned row is a step that bears the name of another stage or call type than its own: two keys in seeds/funnel_steps.csv were probably swapped. If the name is meant, list the step in the variable steps_with_other_names. Argument: label is the column with the name of the stage or call type. */
WITH labelled_steps AS (
  SELECT DISTINCT
    funnel_step,
    kpi_name,
    @label AS own_label
  FROM @this_model
  WHERE
    NOT @label IS NULL
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
  NOT steps.kpi_name LIKE '%: ' || steps.own_label
  AND NOT @is_listed(steps.funnel_step, @steps_with_other_names)
