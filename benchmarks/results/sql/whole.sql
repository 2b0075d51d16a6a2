-- The cells of those repeats of the runs $2 of which every planned cell has been tried; $1 are the protocols of one repeat.
WITH planned AS (
    SELECT
        run_id,
        unnest(cells) AS cell,
        len(cells) / CASE WHEN list_contains(?, protocol) THEN 1 ELSE repeats END AS in_a_repeat
    FROM bench_runs
    WHERE run_id IN (SELECT unnest(?))
), tried AS (
    SELECT DISTINCT p.run_id, p.in_a_repeat, p.cell, c.repeat
    FROM planned AS p JOIN bench_cells AS c USING (cell)
), counted AS (
    SELECT cell, in_a_repeat, count(*) OVER (PARTITION BY run_id, repeat) AS done
    FROM tried
)
SELECT DISTINCT cell FROM counted WHERE done = in_a_repeat
