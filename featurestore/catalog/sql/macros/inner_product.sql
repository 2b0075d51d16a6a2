-- The inner product of two vectors.
list_inner_product(a, b)
