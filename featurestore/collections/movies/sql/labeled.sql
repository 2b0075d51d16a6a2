-- The images of the most frequent genres; `ingest --top-genres` sets how many.
SELECT * FROM labeled_top({top_genres})
