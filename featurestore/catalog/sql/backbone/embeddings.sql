-- The vectors of the current revision of one backbone, of current images only.
-- A vector shows only beside the bytes it was made from; an imported one names no bytes.
SELECT e.ImgId, e.embedding::FLOAT[{embed_dim}] AS embedding
FROM "_parts_{backbone}" AS e
JOIN images AS i ON i.ImgId = e.ImgId AND e.content_hash IN (i.content_hash, '')
WHERE i.status <> 'broken'
