-- What did not fit, a row for each image: `kind` says what is wrong, `detail` why.
SELECT 'refused image' AS kind, ImgName AS name, reason AS detail, ImgId FROM images WHERE status = 'broken'
UNION ALL
SELECT 'without metadata', i.ImgName, NULL, i.ImgId
FROM images_usable AS i LEFT JOIN movies AS m ON m.imdbId = i.ImgId WHERE m.imdbId IS NULL
UNION ALL
SELECT 'without genre', ImgName, NULL, ImgId FROM collection WHERE Genre1 IS NULL
ORDER BY kind, name
