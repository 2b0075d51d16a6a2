-- The comparison table of the run $1: one row per backbone and head, over the newest outcome of each of its cells.
WITH wanted AS (
    SELECT unnest(cells) AS cell FROM bench_runs WHERE run_id = ?
), outcome AS (
    SELECT c.*
    FROM bench_cells AS c SEMI JOIN wanted USING (cell)
    QUALIFY row_number() OVER (PARTITION BY c.cell ORDER BY c.status = 'ok' DESC, c.finished_at DESC) = 1
), scored AS (
    SELECT DISTINCT o.backbone, o.head, o.cell, o.n_test, s.metric, s.score
    FROM outcome AS o JOIN bench_scores AS s USING (cell)
    WHERE o.status = 'ok'
), wide AS (
    SELECT
        backbone,
        head,
        avg(score) FILTER (metric = 'accuracy') AS accuracy,
        stddev_samp(score) FILTER (metric = 'accuracy') AS accuracy_sd,
        -- Pooled over the folds: the share of all out-of-fold rows that were right.
        sum(score * n_test) FILTER (metric = 'accuracy') / sum(n_test) FILTER (metric = 'accuracy') AS accuracy_pooled,
        avg(score) FILTER (metric = 'balanced_accuracy') AS balanced_accuracy,
        avg(score) FILTER (metric = 'precision_weighted') AS precision_weighted,
        avg(score) FILTER (metric = 'recall_weighted') AS recall_weighted,
        avg(score) FILTER (metric = 'f1_weighted') AS f1_weighted,
        avg(score) FILTER (metric = 'f1_macro') AS f1_macro,
        avg(score) FILTER (metric = 'log_loss') AS log_loss,
        avg(score) FILTER (metric = 'fit_seconds') AS fit_seconds,
        avg(score) FILTER (metric = 'predict_ms') AS predict_ms
    FROM scored
    GROUP BY backbone, head
), counted AS (
    SELECT
        backbone,
        head,
        count(*) AS cells,
        count(*) FILTER (status = 'failed') AS failed,
        max(message) FILTER (status = 'failed') AS failure,
        -- Distinct test rows that were predicted: repeats test the same rows again and bring no new ones.
        (sum(n_test) FILTER (status = 'ok') / count(DISTINCT repeat) FILTER (status = 'ok'))::BIGINT AS n_test
    FROM outcome
    GROUP BY backbone, head
)
SELECT counted.*, wide.* EXCLUDE (backbone, head)
FROM counted LEFT JOIN wide USING (backbone, head)
ORDER BY accuracy DESC NULLS LAST, backbone, head
