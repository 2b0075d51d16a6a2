-- Every stored cell once: what it is, and whether it has a good result.
SELECT
    cell, model, backbone, head, revision, data_hash, repeat, fold, size, seed, split_hash,
    bool_or(status = 'ok') AS ok
FROM bench_cells
GROUP BY ALL
ORDER BY cell
