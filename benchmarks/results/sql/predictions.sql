-- Every out-of-fold probability of the cells $1, once: of a cell that two processes stored the lower ones, whatever the
-- order in which threads read them.
WITH outcome AS (
    SELECT c.cell, c.backbone, c.head, c.repeat, c.fold, c.size, c.seed
    FROM bench_cells AS c
    SEMI JOIN (SELECT unnest(?) AS cell) AS wanted USING (cell)
    WHERE c.status = 'ok'
    QUALIFY row_number() OVER (PARTITION BY c.cell ORDER BY c.finished_at DESC) = 1
)
SELECT backbone, head, repeat, fold, size, seed, ImgId, any_value(y) AS y, any_value(labels) AS labels,
    min(proba) AS proba
FROM outcome JOIN bench_predictions USING (cell)
GROUP BY backbone, head, repeat, fold, size, seed, ImgId
ORDER BY backbone, head, size, repeat, fold, seed, ImgId
