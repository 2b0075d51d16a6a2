-- Whether each out-of-fold prediction of the cells $1 from the whole training part was right, once.
WITH outcome AS (
    SELECT c.cell, c.backbone, c.head, c.repeat, c.fold, c.seed
    FROM bench_cells AS c
    SEMI JOIN (SELECT unnest(?) AS cell) AS wanted USING (cell)
    WHERE c.status = 'ok' AND c.size = 1.0
    QUALIFY row_number() OVER (PARTITION BY c.cell ORDER BY c.finished_at DESC) = 1
)
SELECT backbone, head, repeat, fold, seed, ImgId, any_value(y) AS y,
    -- The first of the most probable classes, as argmax has it; of a cell that was stored twice as in predictions.sql.
    list_position(min(proba), list_max(min(proba))) - 1 = any_value(y) AS correct
FROM outcome JOIN bench_predictions USING (cell)
GROUP BY backbone, head, repeat, fold, seed, ImgId
ORDER BY backbone, head, repeat, fold, seed, ImgId
