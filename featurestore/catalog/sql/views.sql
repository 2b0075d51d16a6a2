-- The views of a state, over the tables movies, images, backbones and embeddings. {top_genres} is a setting of the store.

-- Images of byte-identical files share a group, named by its smallest ImgId.
CREATE OR REPLACE VIEW duplicate_groups AS
SELECT
    ImgId,
    CASE WHEN content_hash = '' THEN ImgId
         ELSE min(ImgId) OVER (PARTITION BY content_hash) END AS duplicate_group,
    content_hash
FROM images
WHERE status <> 'broken';

-- Images that can be embedded, or have been.
CREATE OR REPLACE VIEW images_usable AS
SELECT ImgId, ImgName, width, height, mode, content_hash, phash, synthetic FROM images WHERE status <> 'broken';

-- Images that have metadata: the study's inner join, with its genre columns.
CREATE OR REPLACE VIEW collection AS
WITH split AS (
    SELECT i.ImgId, i.ImgName, m.Title, string_split(m.Genre, '|') AS genres, m.IMDBScore, m.ImdbLink, m.Poster
    FROM images AS i JOIN movies AS m ON m.imdbId = i.ImgId
    WHERE i.status <> 'broken'
)
SELECT
    ImgId,
    ImgName,
    Title,
    -- `Short` says nothing of the subject: Genre1 takes the next value, Genre2 and Genre3 stay as they were.
    nullif(CASE WHEN genres[1] = 'Short' THEN genres[2] ELSE genres[1] END, '') AS Genre1,
    nullif(genres[2], '') AS Genre2,
    nullif(genres[3], '') AS Genre3,
    IMDBScore,
    ImdbLink,
    Poster
FROM split
ORDER BY ImgId;

CREATE OR REPLACE VIEW genre_counts AS
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
ORDER BY "count" DESC, Genre1;

CREATE OR REPLACE VIEW labeled AS SELECT * FROM labeled_top({top_genres});

-- The task of several genres a movie: the same images as `collection`, with all their genres but `Short` in one list.
CREATE OR REPLACE VIEW multilabel AS
SELECT ImgId, ImgName, Title, genres AS Genres, IMDBScore
FROM (
    SELECT
        *,
        list_sort(list_distinct(list_filter([Genre1, Genre2, Genre3], lambda g: g IS NOT NULL AND g <> 'Short'))) AS genres
    FROM collection
)
WHERE len(genres) > 0
ORDER BY ImgId;
