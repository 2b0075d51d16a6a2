-- The metadata as they were read, a row for each film; `ImgId` is the number of its poster.
SELECT imdbId AS ImgId, * FROM {rows}
