-- The cosine of two vectors; the nearest first: ORDER BY cosine(a.embedding, b.embedding) DESC.
list_cosine_similarity(a, b)
