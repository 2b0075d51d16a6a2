-- How sure each out-of-fold prediction of the cells $1 is, and whether it is correct, once: as predictions.sql has it.
WITH outcome AS (
    SELECT c.cell, c.backbone, c.head, c.repeat, c.fold, c.size, c.seed
    FROM bench_cells AS c
    SEMI JOIN (SELECT unnest(?) AS cell) AS wanted USING (cell)
    WHERE c.status = 'ok'
    QUALIFY row_number() OVER (PARTITION BY c.cell ORDER BY c.finished_at DESC) = 1
), numbered AS (
    SELECT *, dense_rank() OVER (ORDER BY backbone, head, size, repeat, seed) - 1 AS sample
    FROM outcome
), predicted AS (
    SELECT sample, fold, ImgId, any_value(backbone) AS backbone, any_value(head) AS head, any_value(size) AS size,
        any_value(y) AS y, min(proba) AS proba
    FROM numbered JOIN bench_predictions USING (cell)
    GROUP BY sample, fold, ImgId
)
SELECT sample, backbone, head, size, list_max(proba) AS confidence,
    -- The first of the most probable classes, as argmax has it.
    list_position(proba, list_max(proba)) - 1 = y AS correct
FROM predicted
ORDER BY sample, fold, ImgId
