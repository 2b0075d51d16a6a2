-- The images of the n most frequent genres: FROM labeled_top(n) has the columns of `labeled`.
-- Ties are broken alphabetically.
WITH ranked AS (
    SELECT Genre1, row_number() OVER (ORDER BY "count" DESC, Genre1) AS place FROM genre_counts
)
SELECT c.ImgId, c.ImgName, c.Title, c.Genre1, c.Genre2, c.Genre3, c.IMDBScore, c.ImdbLink, c.Poster
FROM collection AS c JOIN ranked AS r ON r.Genre1 = c.Genre1
WHERE r.place <= n
ORDER BY c.ImgId
