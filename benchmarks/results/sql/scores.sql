-- Every score of the cells $1 in long form: one row per cell and metric. A cell that two processes stored counts once.
WITH outcome AS (
    SELECT c.cell, c.backbone, c.head, c.repeat, c.fold, c.size, c.seed, c.n_train, c.n_test, c.finished_at
    FROM bench_cells AS c
    SEMI JOIN (SELECT unnest(?) AS cell) AS wanted USING (cell)
    WHERE c.status = 'ok'
    QUALIFY row_number() OVER (PARTITION BY c.cell ORDER BY c.finished_at DESC) = 1
)
SELECT outcome.* EXCLUDE (finished_at), metric, min(score) AS score
FROM outcome JOIN bench_scores USING (cell)
GROUP BY ALL
ORDER BY backbone, head, repeat, fold, size, seed, metric, cell
