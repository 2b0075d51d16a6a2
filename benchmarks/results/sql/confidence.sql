-- How sure each out-of-fold prediction of the cells $1 is, and whether it is correct: a row per backbone, head, size, repeat
-- and seed, its predictions as a list, whose order means nothing.
WITH outcome AS (
    SELECT c.cell, c.backbone, c.head, c.repeat, c.size, c.seed
    FROM bench_cells AS c
    SEMI JOIN (SELECT unnest(?) AS cell) AS wanted USING (cell)
    WHERE c.status = 'ok'
    QUALIFY row_number() OVER (PARTITION BY c.cell ORDER BY c.finished_at DESC) = 1
), doubled AS (
    -- Cells that two processes stored, which count once, as predictions.sql has it: only these few need be grouped.
    SELECT cell FROM bench_cells SEMI JOIN outcome USING (cell) WHERE status = 'ok' GROUP BY cell HAVING count(*) > 1
), predicted AS (
    SELECT cell, y, proba FROM bench_predictions ANTI JOIN doubled USING (cell)
    UNION ALL
    SELECT cell, any_value(y) AS y, min(proba) AS proba
    FROM bench_predictions SEMI JOIN doubled USING (cell)
    GROUP BY cell, ImgId
)
SELECT backbone, head, size, repeat, seed,
    list({
        'confidence': list_max(proba),
        -- The first of the most probable classes, as argmax has it.
        'correct': list_position(proba, list_max(proba)) - 1 = y
    }) AS predictions
FROM outcome JOIN predicted USING (cell)
GROUP BY backbone, head, size, repeat, seed
ORDER BY backbone, head, size, repeat, seed
