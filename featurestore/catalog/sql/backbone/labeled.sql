-- The view `labeled` with the vectors of one backbone.
SELECT l.*, e.embedding
FROM labeled AS l JOIN "embeddings_{backbone}" AS e ON e.ImgId = l.ImgId
ORDER BY l.ImgId
