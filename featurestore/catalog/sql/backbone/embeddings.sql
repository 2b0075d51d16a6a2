-- The vectors of the current revision of one backbone, of current images only.
-- A vector is shown only while the image has the bytes it was computed from; an imported vector has no such hash.
SELECT e.ImgId, e.embedding::FLOAT[{embed_dim}] AS embedding
FROM "_parts_{backbone}" AS e
JOIN images AS i ON i.ImgId = e.ImgId AND e.content_hash IN (i.content_hash, '')
WHERE i.status IN ('ok', 'external')
