-- The images that can be embedded, or whose embeddings were imported.
SELECT ImgId, ImgName, width, height, mode, content_hash, phash, synthetic FROM images WHERE status IN ('ok', 'external')
