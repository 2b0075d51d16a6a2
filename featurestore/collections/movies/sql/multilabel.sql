-- The same images as `collection`, with all genres of a film but `Short` in one list.
SELECT ImgId, ImgName, Title, genres AS Genres, IMDBScore
FROM (
    SELECT
        *,
        list_sort(list_distinct(list_filter([Genre1, Genre2, Genre3], lambda g: g IS NOT NULL AND g <> 'Short'))) AS genres
    FROM collection
)
WHERE len(genres) > 0
ORDER BY ImgId
