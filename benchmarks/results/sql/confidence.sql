-- Confidence and success of the cells $1: a row per backbone, head, size, repeat and seed, its out-of-fold rows as lists.
WITH outcome AS (
    SELECT c.cell, c.backbone, c.head, c.repeat, c.size, c.seed
    FROM bench_cells AS c
    SEMI JOIN (SELECT unnest(?) AS cell) AS wanted USING (cell)
    WHERE c.status = 'ok'
    QUALIFY row_number() OVER (PARTITION BY c.cell ORDER BY c.finished_at DESC) = 1
), predicted AS (
    -- A cell that two processes stored counts once: as predictions.sql has it.
    SELECT cell, ImgId, any_value(y) AS y, min(proba) AS proba
    FROM bench_predictions SEMI JOIN outcome USING (cell)
    GROUP BY cell, ImgId
)
-- In one order, whatever the number of threads: the last bit of a sum depends on it.
SELECT backbone, head, size, repeat, seed, list(list_max(proba) ORDER BY ImgId) AS confidence,
    list(list_position(proba, list_max(proba)) - 1 = y ORDER BY ImgId) AS correct
FROM outcome JOIN predicted USING (cell)
GROUP BY backbone, head, size, repeat, seed
ORDER BY backbone, head, size, repeat, seed
