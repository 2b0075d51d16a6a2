-- Each image that has metadata, with title, genres and score: the study's inner join.
WITH split AS (
    SELECT i.ImgId, i.ImgName, m.Title, string_split(m.Genre, '|') AS genres, m.IMDBScore, m.ImdbLink, m.Poster
    FROM images AS i JOIN movies AS m ON m.imdbId = i.ImgId
    WHERE i.status IN ('ok', 'external')
)
SELECT
    ImgId,
    ImgName,
    Title,
    -- `Short` is a format, not a subject: Genre1 takes the next value, Genre2 and Genre3 are unchanged.
    nullif(CASE WHEN genres[1] = 'Short' THEN genres[2] ELSE genres[1] END, '') AS Genre1,
    nullif(genres[2], '') AS Genre2,
    nullif(genres[3], '') AS Genre3,
    IMDBScore,
    ImdbLink,
    Poster
FROM split
ORDER BY ImgId
