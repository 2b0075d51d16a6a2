-- Each image that has metadata, with the corrections of its labels that are in force.
-- It stands on the collection as it was read. A correction is text, of a list its JSON; one that its column can't hold,
-- since that has another type by now, is not shown.
WITH latest AS (
    SELECT ImgId, "column", arg_max("to", "at") AS corrected FROM corrections WHERE undone IS NULL GROUP BY ImgId, "column"
), fixed AS (
    SELECT ImgId, map_from_entries(list(("column", corrected))) AS "to" FROM latest GROUP BY ImgId
)
SELECT
    c.ImgId,
    coalesce(
        TRY(
            CASE
                WHEN typeof(COLUMNS(c.* EXCLUDE (ImgId))) LIKE '%[]'
                THEN cast_to_type(
                    from_json(f."to"[alias(COLUMNS(c.* EXCLUDE (ImgId)))], '["VARCHAR"]'), COLUMNS(c.* EXCLUDE (ImgId))
                )
                ELSE cast_to_type(f."to"[alias(COLUMNS(c.* EXCLUDE (ImgId)))], COLUMNS(c.* EXCLUDE (ImgId)))
            END
        ),
        COLUMNS(c.* EXCLUDE (ImgId))
    )
FROM {as_read} AS c LEFT JOIN fixed AS f ON f.ImgId = c.ImgId
ORDER BY c.ImgId
