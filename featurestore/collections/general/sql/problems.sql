-- What did not fit: `kind` says what is wrong, `name` where, `detail` why; `ImgId` is null where no image is meant.
SELECT 'refused image' AS kind, ImgName AS name, reason AS detail, ImgId FROM images WHERE status = 'broken'
UNION ALL
SELECT 'image that is gone', ImgName, NULL, ImgId FROM images WHERE status = 'gone'
UNION ALL
SELECT 'image without a row', i.ImgName, NULL, i.ImgId
FROM images_usable AS i LEFT JOIN metadata AS m ON m.ImgId = i.ImgId WHERE m.ImgId IS NULL
UNION ALL
SELECT RowProblem, RowKey, RowDetail, ImgId FROM metadata WHERE RowProblem IS NOT NULL
UNION ALL
SELECT 'image without a label', ImgName, NULL, ImgId FROM collection WHERE {label} IS NULL
ORDER BY kind, name
