-- What the planner knows of balls: the index condition behind hamming_within, and
-- estimates of rows.
CREATE TABLE planned (id int, code hashcode(64));
INSERT INTO planned SELECT n, left(md5(n::text), 16)::hashcode FROM generate_series(1, 5000) n;
CREATE INDEX planned_mih ON planned USING mih (code);
ANALYZE planned;
SET enable_seqscan = off;
SET enable_bitmapscan = off;

-- the function becomes the operator, exactly, whichever argument is the column
EXPLAIN (COSTS OFF) SELECT id FROM planned WHERE hamming_within(code, '00000000000000ff', 3);
EXPLAIN (COSTS OFF) SELECT id FROM planned WHERE hamming_within('00000000000000ff', code, 3);
EXPLAIN (COSTS OFF) SELECT id FROM planned WHERE code <@ hashball('00000000000000ff', 3);
EXPLAIN (COSTS OFF) SELECT id FROM planned WHERE hashball('00000000000000ff', 3) @> code;
-- beside an ORDER BY
EXPLAIN (COSTS OFF) SELECT id FROM planned WHERE hamming_within(code, 'ff', 3) ORDER BY code <~> '00000000000000ff' LIMIT 3;
-- a centre and a radius of another table
EXPLAIN (COSTS OFF) SELECT a.id, b.id FROM (SELECT * FROM planned LIMIT 2) a, planned b WHERE hamming_within(b.code, a.code, a.id);
-- parameters
PREPARE near(hashcode, int) AS SELECT count(*) FROM planned WHERE hamming_within(code, $1, $2);
SET plan_cache_mode = force_generic_plan;
EXPLAIN (COSTS OFF) EXECUTE near('00000000000000ff', 20);
EXECUTE near('00000000000000ff', 20);
EXECUTE near('00000000000000ff', 64);
EXECUTE near(NULL, 64);
EXECUTE near('00000000000000ff', NULL);
EXECUTE near('00000000000000ff', -1);
RESET plan_cache_mode;
-- no condition where a side is volatile, or is the column itself
EXPLAIN (COSTS OFF) SELECT id FROM planned WHERE hamming_within(code, '00000000000000ff', (random() * 3)::int);
EXPLAIN (COSTS OFF) SELECT id FROM planned WHERE hamming_within(code, code, 3);
EXPLAIN (COSTS OFF) SELECT id FROM planned WHERE hamming_within(code, '00000000000000ff', id);
-- the same rows with and without the index
SELECT r, (SELECT count(*) FROM planned WHERE hamming_within(code, '0123456789abcdef', r)) FROM generate_series(0, 64, 8) r;
RESET enable_seqscan;
RESET enable_bitmapscan;
SET enable_indexscan = off;
SET enable_bitmapscan = off;
SELECT r, (SELECT count(*) FROM planned WHERE hamming_within(code, '0123456789abcdef', r)) FROM generate_series(0, 64, 8) r;
RESET enable_indexscan;
RESET enable_bitmapscan;

-- estimates: rows expected against rows found
CREATE FUNCTION expected_rows(query text) RETURNS numeric LANGUAGE plpgsql AS $$
DECLARE
  plan json;
BEGIN
  EXECUTE 'EXPLAIN (FORMAT json) ' || query INTO plan;
  RETURN plan->0->'Plan'->>'Plan Rows';
END $$;
CREATE FUNCTION close_to_truth(condition text, source text, factor numeric) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
  expected numeric := expected_rows(format('SELECT 1 FROM %s WHERE %s', source, condition));
  found numeric;
BEGIN
  EXECUTE format('SELECT count(*) FROM %s WHERE %s', source, condition) INTO found;
  IF greatest(expected, 1) BETWEEN greatest(found, 1) / factor AND greatest(found, 1) * factor THEN
    RETURN 'ok';
  END IF;
  RETURN format('%s rows expected, %s found', expected, found);
END $$;

-- uniform codes, every radius
SELECT r, close_to_truth(format('code <@ hashball(''0123456789abcdef'', %s)', r), 'planned', 5)
FROM unnest(ARRAY[0, 4, 12, 18, 20, 22, 24, 28, 32, 40, 64]) r;
SELECT r, close_to_truth(format('hamming_within(code, ''0123456789abcdef'', %s)', r), 'planned', 5)
FROM unnest(ARRAY[0, 12, 20, 24, 32, 64]) r;
SELECT close_to_truth('hashball(''0123456789abcdef'', 24) @> code', 'planned', 5),
       close_to_truth('NOT hamming_within(code, ''0123456789abcdef'', 24)', 'planned', 2);
-- clusters: 20 centres, up to four bits of noise
CREATE TABLE clustered AS
SELECT n, (left(md5((n % 20)::text), 16)::hashcode # (1::bigint << n % 61 | 1::bigint << n % 53 | 1::bigint << n % 47 | 1::bigint << n % 43)::hashcode)::hashcode(64) AS code
FROM generate_series(1, 10000) n;
ANALYZE clustered;
SELECT r, close_to_truth(format('code <@ hashball(%L, %s)', left(md5('7'), 16), r), 'clustered', 5) FROM unnest(ARRAY[4, 6, 8, 16, 64]) r;
-- mostly duplicates: common codes are counted one by one; nulls match nothing
CREATE TABLE duplicated AS
SELECT n, CASE WHEN n % 10 < 6 THEN left(md5((n % 7)::text), 16)::hashcode WHEN n % 10 = 9 THEN NULL ELSE left(md5(n::text), 16)::hashcode END AS code
FROM generate_series(1, 5000) n;
ANALYZE duplicated;
SELECT r, close_to_truth(format('code <@ hashball(%L, %s)', left(md5('3'), 16), r), 'duplicated', 1.5) FROM unnest(ARRAY[0, 1, 5, 64]) r;
SELECT close_to_truth('code <@ NULL::hashball', 'duplicated', 1), close_to_truth('hamming_within(code, NULL, 3)', 'duplicated', 1);
-- a centre that is not known yet: the column's own codes stand for it
PREPARE around(hashcode) AS SELECT 1 FROM duplicated WHERE code <@ hashball($1, 1);
SET plan_cache_mode = force_generic_plan;
SELECT expected_rows('EXECUTE around(''0000000000000000'')') BETWEEN 200 AND 500 AS as_common_as_a_common_code;
RESET plan_cache_mode;
SELECT expected_rows('SELECT 1 FROM planned a JOIN planned b ON a.code <@ hashball(b.code, 64)') BETWEEN 2e7 AND 2.5e7 AS all_pairs,
       expected_rows('SELECT 1 FROM planned a JOIN planned b ON hashball(b.code, 2) @> a.code') < 2e5 AS few_pairs,
       expected_rows('SELECT 1 FROM planned a JOIN planned b ON hamming_within(a.code, b.code, 64)') BETWEEN 2e7 AND 2.5e7 AS all_pairs_by_function,
       expected_rows('SELECT 1 FROM planned a JOIN planned b ON hamming_within(a.code, b.code, b.id)') > 0 AS radius_unknown;
-- never an error: no statistics, another length, mixed lengths, a table of balls
CREATE TABLE mixed (code hashcode, ball hashball);
SELECT expected_rows('SELECT 1 FROM mixed WHERE code <@ hashball(''ff'', 3)') > 0, expected_rows('SELECT 1 FROM mixed WHERE ball @> ''ff''::hashcode') > 0;
INSERT INTO mixed SELECT repeat('a', 1 + n % 5)::hashcode, hashball('ff', n) FROM generate_series(0, 100) n;
ANALYZE mixed;
SELECT expected_rows('SELECT 1 FROM mixed WHERE code <@ hashball(''ff'', 3)') > 0, expected_rows('SELECT 1 FROM mixed WHERE ball @> ''ff''::hashcode') > 0,
       expected_rows('SELECT 1 FROM mixed WHERE hamming_within(code, ''ffffff'', 3)') > 0, expected_rows('SELECT 1 FROM planned WHERE code <@ hashball(''ff'', 3)') > 0,
       expected_rows('SELECT 1 FROM mixed a JOIN mixed b ON a.code <@ b.ball') > 0, expected_rows('SELECT 1 FROM mixed WHERE code <@ ball') > 0;
DROP FUNCTION close_to_truth;
DROP FUNCTION expected_rows;
DROP TABLE planned, clustered, duplicated, mixed;
