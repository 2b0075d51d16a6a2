-- The vectors of one backbone: those of its current revision, of the images that are there now.
-- A vector is shown only while the image has the bytes it was computed from; an imported vector has no such hash.
SELECT e.ImgId, e.embedding::FLOAT[{embed_dim}] AS embedding
FROM {rows} AS e
JOIN images AS i ON i.ImgId = e.ImgId AND e.content_hash IN (i.content_hash, '')
WHERE i.status IN ('ok', 'external')
