-- The Euclidean distance of two vectors; the nearest first: ORDER BY euclidean(a.embedding, b.embedding).
list_distance(a, b)
