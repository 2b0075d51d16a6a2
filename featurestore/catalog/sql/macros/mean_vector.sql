-- The mean of the vectors of each group, element by element: SELECT Genre1, mean_vector(embedding) … GROUP BY Genre1.
-- A macro can't be an aggregate of its own. `list` is one; the subquery takes its vectors apart and puts the means
-- together again. Vectors and elements that are NULL do not count.
(
    SELECT
        CASE
            WHEN min(vectors) <> max(vectors) THEN error(
                'mean_vector got vectors of different lengths, the longest with ' || count(*) || ' elements: group them'
            )
            ELSE list(mean ORDER BY place)
        END::FLOAT[]
    FROM (
        SELECT place, avg(element) AS mean, count(*) AS vectors
        FROM (
            SELECT unnest(vector) AS element, generate_subscripts(vector, 1) AS place
            FROM (SELECT unnest(list(embedding::FLOAT[])) AS vector)
        )
        GROUP BY place
    )
)
