-- The k nearest images of one image: FROM similar_NAME(ImgId, k) has the columns ImgId and score.
SELECT o.ImgId, array_cosine_similarity(q.embedding, o.embedding) AS score
FROM "embeddings_{backbone}" AS q, "embeddings_{backbone}" AS o
WHERE q.ImgId = img_id AND o.ImgId <> img_id
ORDER BY score DESC, o.ImgId
LIMIT k
