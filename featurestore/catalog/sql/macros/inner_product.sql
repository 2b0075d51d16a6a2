list_inner_product(a, b)
