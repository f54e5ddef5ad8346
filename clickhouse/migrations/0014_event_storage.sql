-- Most events say nothing that the columns do not hold. Their body is empty, and the view puts their properties together
-- again when asked; any other body is whole (docs/adr/0019).

CREATE OR REPLACE VIEW v_events AS
SELECT * EXCEPT properties,
    multiIf(
        body != '', JSONExtractRaw(body, 'properties'),
        events.properties != '', events.properties,
        concat('{', arrayStringConcat(arrayFilter(pair -> pair != '', [
            ifNull(concat('"amount":', toJSONString(amount)), ''),
            ifNull(concat('"currency":', toJSONString(currency)), ''),
            ifNull(concat('"channel":', toJSONString(channel)), ''),
            ifNull(concat('"country":', toJSONString(country)), ''),
            ifNull(concat('"product_id":', toJSONString(product_id)), ''),
            ifNull(concat('"category":', toJSONString(category)), ''),
            ifNull(concat('"store":', toJSONString(store)), ''),
            ifNull(concat('"payment_method":', toJSONString(payment_method)), ''),
            ifNull(concat('"discount":', toJSONString(discount)), ''),
            ifNull(concat('"session_id":', toJSONString(session_id)), '')
        ]), ','), '}')
    ) AS properties
FROM events FINAL;

-- Merging column by column saves memory where rows are huge; on rows of a few hundred bytes it takes twice the time.
-- Parts of one insert are kept in one file each: to write one a column costs more than the rows.
ALTER TABLE events MODIFY SETTING enable_vertical_merge_algorithm = 0, min_bytes_for_wide_part = 134217728;
ALTER TABLE features MODIFY SETTING enable_vertical_merge_algorithm = 0, min_bytes_for_wide_part = 134217728;
ALTER TABLE scores MODIFY SETTING enable_vertical_merge_algorithm = 0, min_bytes_for_wide_part = 134217728;
