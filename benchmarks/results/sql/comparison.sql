-- The comparison table of the cells $1: a row per backbone, head and training size, with a map of its mean scores.
WITH outcome AS (
    SELECT c.*
    FROM bench_cells AS c
    SEMI JOIN (SELECT unnest(?) AS cell) AS wanted USING (cell)
    QUALIFY row_number() OVER (PARTITION BY c.cell ORDER BY c.status = 'ok' DESC, c.finished_at DESC) = 1
), scored AS (
    SELECT DISTINCT o.backbone, o.head, o.size, o.repeat, o.fold, o.seed, o.cell, o.n_test, s.metric, s.score
    FROM outcome AS o JOIN bench_scores AS s USING (cell)
    WHERE o.status = 'ok' AND NOT isnan(s.score)
), averaged AS (
    -- In one order, whatever the number of threads: the last bit of a sum depends on it.
    SELECT
        backbone, head, size, metric,
        avg(score ORDER BY repeat, fold, seed, cell, score) AS mean,
        stddev_samp(score ORDER BY repeat, fold, seed, cell, score) AS sd,
        -- Pooled over the folds: the share of all out-of-fold rows that were right.
        sum(score * n_test ORDER BY repeat, fold, seed, cell, score) / sum(n_test) AS pooled
    FROM scored
    GROUP BY ALL
), scores AS (
    SELECT backbone, head, size, map_from_entries(list((metric, (mean, sd, pooled)))) AS scores
    FROM averaged
    GROUP BY ALL
), counted AS (
    SELECT
        backbone,
        head,
        size,
        count(*) AS cells,
        count(*) FILTER (status = 'failed') AS failed,
        count(DISTINCT (repeat, fold)) FILTER (status = 'ok') AS splits,
        max(message) FILTER (status = 'failed') AS failure,
        min(model) AS model,
        bool_or(synthetic) AS synthetic,
        avg(n_train) AS n_train,
        -- Distinct test rows that were predicted: repeats and seeds test the same rows again and bring no new ones.
        (sum(n_test) FILTER (status = 'ok') / count(DISTINCT (repeat, seed)) FILTER (status = 'ok'))::BIGINT AS n_test
    FROM outcome
    GROUP BY ALL
)
SELECT counted.*, scores.scores
FROM counted LEFT JOIN scores USING (backbone, head, size)
ORDER BY backbone, head, size
