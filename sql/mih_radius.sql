-- mih_radius: all codes within a radius, by every way a plan can take.
\set ECHO none
\i test/mih.sql
\set ECHO all

-- Wide rows, so that a second index pays.
CREATE TABLE r (id int, grp int, code hashcode(64), filler text DEFAULT repeat('x', 1200));
INSERT INTO r SELECT i, i % 50, CASE WHEN i % 40 = 0 THEN NULL WHEN i % 2 = 0 THEN code(64, i::text) ELSE near(code(64, (i % 20)::text), i % 9, i::text) END
	FROM generate_series(1, 8000) i;
CREATE INDEX mih_r ON r USING mih (code) WITH (chunks = 4);
CREATE INDEX r_grp ON r (grp);
INSERT INTO r SELECT i, i % 50, near(code(64, (i % 20)::text), i % 9, i::text) FROM generate_series(8001, 8200) i;
ANALYZE r;

SELECT radius, way, same(format('SELECT id FROM r WHERE code <@ hashball(%L, %s)', code(64, '7'), radius), way)
FROM unnest(ARRAY[0, 1, 2, 3, 4, 5, 6, 7, 8, 12, 20, 32, 63, 64]) radius, unnest(ARRAY['index', 'bitmap']) way;
SELECT radius, same(format('SELECT id FROM r WHERE hamming_within(code, %L, %s)', code(64, '8'), radius), 'bitmap'),
	same(format('SELECT id FROM r WHERE hamming_within(%L, code, %s)', code(64, '8'), radius), 'index')
FROM unnest(ARRAY[0, 3, 8, 30, 64, 5000, 2147483647]) radius;
SELECT same(format('SELECT id FROM r WHERE hashball(%L, 6) @> code', code(64, '8')), 'index');
EXPLAIN (COSTS off) SELECT id FROM r WHERE hamming_within(code, '0123456789abcdef', 3);
EXPLAIN (COSTS off) SELECT id FROM r WHERE hamming_within('0123456789abcdef', code, 3);

-- With an order: by the ball's centre, by another code.
SELECT radius, same(format('SELECT code <~> %L FROM r WHERE code <@ hashball(%1$L, %s) ORDER BY code <~> %1$L', code(64, '7'), radius)),
	same(format('SELECT code <~> %L FROM r WHERE code <@ hashball(%L, %s) ORDER BY code <~> %1$L LIMIT 100', code(64, '9'), code(64, '7'), radius))
FROM unnest(ARRAY[0, 2, 5, 9, 30, 64]) radius;

-- Several balls: AND in one scan, OR by bitmaps, a list of balls.
SELECT same(format('SELECT id FROM r WHERE code <@ hashball(%L, 28) AND code <@ hashball(%L, %s)', code(64, '7'), code(64, '9'), radius), way)
FROM unnest(ARRAY[5, 28, 64]) radius, unnest(ARRAY['index', 'bitmap']) way;
SELECT same(format('SELECT id FROM r WHERE code <@ hashball(%L, 4) AND code <@ hashball(%1$L, 6) AND code IS NOT NULL', code(64, '7')), 'index');
SELECT same(format('SELECT id FROM r WHERE code <@ hashball(%L, 5) AND code IS NULL', code(64, '7')), 'index');
SELECT same(format('SELECT id FROM r WHERE code <@ hashball(%L, 5) OR code <@ hashball(%L, 4)', code(64, '7'), code(64, '9')), 'bitmap');
SELECT same(format('SELECT id FROM r WHERE code <@ hashball(%L, 5) OR code IS NULL', code(64, '7')), 'bitmap');
SELECT same(format('SELECT id FROM r WHERE code <@ ANY (ARRAY[hashball(%L, 5), NULL, hashball(%L, 4)])', code(64, '7'), code(64, '9')), 'bitmap');
SELECT same(format('SELECT code <~> %L FROM r WHERE code <@ hashball(%L, 27) AND code <@ hashball(%L, 40) ORDER BY code <~> %1$L LIMIT 50', code(64, '3'), code(64, '7'), code(64, '9')));

-- Together with another index.
SET enable_seqscan = off;
SET enable_indexscan = off;
EXPLAIN (COSTS off) SELECT id FROM r WHERE code <@ '<0123456789abcdef,20>' AND grp = 7;
EXPLAIN (COSTS off) SELECT id FROM r WHERE code <@ '<0123456789abcdef,3>' OR grp = 7;
RESET enable_seqscan;
RESET enable_indexscan;
SELECT same(format('SELECT id FROM r WHERE code <@ hashball(%L, 20) AND grp = 7', code(64, '7')), 'bitmap');
SELECT same(format('SELECT id FROM r WHERE code <@ hashball(%L, 4) OR grp = 7', code(64, '7')), 'bitmap');

-- A bitmap that does not fit its memory keeps pages, and rows are checked again.
SET work_mem = '64kB';
SELECT same(format('SELECT id FROM r WHERE code <@ hashball(%L, 31)', code(64, '7')), 'bitmap');
RESET work_mem;

-- NULLs: nothing lies within.
SELECT same('SELECT id FROM r WHERE code <@ NULL::hashball', 'index') LIKE 'NO INDEX%' AS "constant, so no scan at all";
SELECT same(format('SELECT id FROM r WHERE code <@ hashball(%L, (SELECT NULL::int))', code(64, '7')), 'index');
SELECT same(format('SELECT code <~> %L FROM r WHERE code <@ hashball(%1$L, (SELECT NULL::int)) ORDER BY code <~> %1$L', code(64, '7')));
SELECT same(format('SELECT id FROM r WHERE hamming_within(code, (SELECT NULL::hashcode), 3)'), 'bitmap');

-- Wrong lengths and radii: the same errors as without an index, or clearer ones.
SET enable_seqscan = off;
SELECT id FROM r WHERE code <@ '<ff,1>';
SELECT id FROM r ORDER BY code <~> 'ff' LIMIT 1;
SELECT id FROM r WHERE code <@ '<0123456789abcdef,3>' AND code <@ '<ff,7>';
SELECT id FROM r WHERE hamming_within(code, '0123456789abcdef', -1);
RESET enable_seqscan;
DROP SCHEMA mih_test CASCADE;
