-- What did not fit: `kind` says what is wrong, `name` where, `detail` why.
SELECT 'refused image' AS kind, ImgName AS name, reason AS detail FROM images WHERE status = 'broken'
UNION ALL
SELECT 'image that is gone', ImgName, NULL FROM images WHERE status = 'gone'
UNION ALL
SELECT 'image without a row', i.ImgName, NULL
FROM images_usable AS i LEFT JOIN metadata AS m ON m.ImgId = i.ImgId WHERE m.ImgId IS NULL
UNION ALL
SELECT RowProblem, RowKey, RowDetail FROM metadata WHERE RowProblem IS NOT NULL
UNION ALL
SELECT 'image without a label', ImgName, NULL FROM collection WHERE {label} IS NULL
ORDER BY kind, name
