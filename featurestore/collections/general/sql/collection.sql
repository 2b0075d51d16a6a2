-- Each image with its metadata; images without metadata too.
SELECT i.ImgId, i.ImgName, m.* EXCLUDE (ImgId, RowKey, RowProblem, RowDetail)
FROM images AS i LEFT JOIN metadata AS m ON m.ImgId = i.ImgId
WHERE i.status IN ('ok', 'external')
ORDER BY i.ImgId
