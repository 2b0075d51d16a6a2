-- The images that have a label.
-- The name of its column is a setting of the store.
SELECT * FROM collection WHERE {label} IS NOT NULL ORDER BY ImgId
