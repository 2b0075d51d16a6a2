-- Cosine similarity, for nearest neighbours in SQL: SELECT … ORDER BY cosine(a.embedding, b.embedding) DESC.
list_cosine_similarity(a, b)
