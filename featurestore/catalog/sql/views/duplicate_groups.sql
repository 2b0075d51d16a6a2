-- Which images have the same bytes: they share a `duplicate_group`, named by its smallest ImgId.
SELECT
    ImgId,
    CASE WHEN content_hash = '' THEN ImgId
         ELSE min(ImgId) OVER (PARTITION BY content_hash) END AS duplicate_group,
    content_hash
FROM images
WHERE status IN ('ok', 'external')
