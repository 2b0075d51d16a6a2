-- The images of the most frequent genres; {top_genres} is a setting of the store.
SELECT * FROM labeled_top({top_genres})
