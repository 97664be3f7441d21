-- Nothing depends on the search path: the extension in a schema of its own, which
-- the session does not search, beside look-alikes that it does.
CREATE DATABASE deephash_schema;
\c deephash_schema
SET client_min_messages = warning;
CREATE SCHEMA elsewhere;
CREATE EXTENSION deephash SCHEMA elsewhere;
CREATE FUNCTION public.hashball(elsewhere.hashcode, int) RETURNS elsewhere.hashball LANGUAGE sql IMMUTABLE AS
$$SELECT elsewhere.hashball(elsewhere.centre(NULL), 0)$$;
CREATE TABLE photo (id int, code elsewhere.hashcode(16));
INSERT INTO photo SELECT n, lpad(to_hex(n), 4, '0')::elsewhere.hashcode FROM generate_series(0, 999) n;
CREATE INDEX ON photo USING mih (code);
ANALYZE photo;
SET enable_seqscan = off;
SET enable_bitmapscan = off;
EXPLAIN (COSTS OFF) SELECT count(*) FROM photo WHERE elsewhere.hamming_within(code, '00ff', 1);
SELECT count(*) FROM photo WHERE elsewhere.hamming_within(code, '00ff', 1);
PREPARE near(elsewhere.hashcode, int) AS SELECT count(*) FROM photo WHERE elsewhere.hamming_within(code, $1, $2);
SET plan_cache_mode = force_generic_plan;
EXPLAIN (COSTS OFF) EXECUTE near('00ff', 1);
EXECUTE near('00ff', 1);
SELECT id, code OPERATOR(elsewhere.<~>) '00ff' AS distance FROM photo ORDER BY code OPERATOR(elsewhere.<~>) '00ff', id LIMIT 3;
SELECT count(DISTINCT code), min(n) FROM (SELECT code, row_number() OVER (ORDER BY code) n FROM photo WHERE code OPERATOR(elsewhere.>=) '0100') s;
SELECT elsewhere.majority(code), (elsewhere.quality(code)).distinct_codes FROM photo;
SELECT b'101'::elsewhere.hashcode, '{1,-1}'::real[]::elsewhere.hashcode, 5::bigint::elsewhere.hashcode;
\c contrib_regression
DROP DATABASE deephash_schema;
