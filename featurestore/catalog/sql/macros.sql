-- Table macros: the views of views.sql, with a parameter. And distances for those who stay in SQL.

-- The labelled table of the `n` most frequent values of Genre1; ties go to the alphabet.
CREATE OR REPLACE MACRO labeled_top(n) AS TABLE
WITH ranked AS (
    SELECT Genre1, row_number() OVER (ORDER BY "count" DESC, Genre1) AS place FROM genre_counts
)
SELECT c.ImgId, c.ImgName, c.Title, c.Genre1, c.Genre2, c.Genre3, c.IMDBScore, c.ImdbLink, c.Poster
FROM collection AS c JOIN ranked AS r ON r.Genre1 = c.Genre1
WHERE r.place <= n
ORDER BY c.ImgId;

-- Neighbours for those who stay in SQL: SELECT … ORDER BY cosine(a.embedding, b.embedding) DESC.
CREATE OR REPLACE MACRO cosine(a, b) AS list_cosine_similarity(a, b);
CREATE OR REPLACE MACRO inner_product(a, b) AS list_inner_product(a, b);
CREATE OR REPLACE MACRO euclidean(a, b) AS list_distance(a, b);
