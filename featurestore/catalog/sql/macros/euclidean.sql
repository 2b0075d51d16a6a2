list_distance(a, b)
