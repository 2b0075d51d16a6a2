-- What the cells $1, of the whole training part, have on each image, once: as predictions.sql has it.
WITH outcome AS (
    SELECT c.cell, c.backbone, c.head, c.repeat, c.fold, c.seed
    FROM bench_cells AS c
    SEMI JOIN (SELECT unnest(?) AS cell) AS wanted USING (cell)
    WHERE c.status = 'ok' AND c.size = 1.0
    QUALIFY row_number() OVER (PARTITION BY c.cell ORDER BY c.finished_at DESC) = 1
), numbered AS (
    SELECT *, (dense_rank() OVER (ORDER BY backbone, head) - 1)::INTEGER AS number
    FROM outcome
), doubled AS (
    -- Cells that two processes stored: only these few need be grouped.
    SELECT cell FROM bench_cells SEMI JOIN outcome USING (cell) WHERE status = 'ok' GROUP BY cell HAVING count(*) > 1
), predicted AS (
    SELECT cell, ImgId, y, labels, proba FROM bench_predictions ANTI JOIN doubled USING (cell)
    UNION ALL
    SELECT cell, ImgId, any_value(y), any_value(labels), min(proba)
    FROM bench_predictions SEMI JOIN doubled USING (cell)
    GROUP BY cell, ImgId
)
SELECT
    number, repeat, fold, seed, ImgId, y,
    -- The first of the most probable classes, as argmax has it; of several labels, whether it is one of them.
    CASE
        WHEN labels IS NULL THEN list_position(proba, list_max(proba)) - 1 = y
        ELSE list_contains(labels, list_position(proba, list_max(proba)) - 1)
    END AS correct,
    greatest(proba[y + 1], 1e-7)::DOUBLE AS chosen,
    list_dot_product(proba, proba)::DOUBLE - 2 * proba[y + 1] + 1 AS brier
FROM numbered JOIN predicted USING (cell)
