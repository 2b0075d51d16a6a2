-- Images that can be embedded, or have been.
SELECT ImgId, ImgName, width, height, mode, content_hash, phash, synthetic FROM images WHERE status <> 'broken'
