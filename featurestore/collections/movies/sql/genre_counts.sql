-- The values of Genre1, most frequent first; ties are broken alphabetically.
WITH counted AS (
    SELECT Genre1, count(*) AS "count" FROM collection WHERE Genre1 IS NOT NULL GROUP BY Genre1
), scaled AS (
    SELECT *, (SELECT count(*) FROM collection) AS total FROM counted
)
SELECT
    Genre1,
    "count",
    round(100.0 * "count" / total, 2) AS percent,
    round(100.0 * sum("count") OVER (ORDER BY "count" DESC, Genre1) / total, 2) AS cumulative
FROM scaled
ORDER BY "count" DESC, Genre1
