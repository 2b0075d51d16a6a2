-- The rows of your table as they were read; `ImgId` is null for a row that no image has.
FROM {rows}
