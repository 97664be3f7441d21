-- mih_plan: when the planner takes the index, and when not.
\set ECHO none
\i test/mih.sql
\set ECHO all

CREATE TABLE tiny (id int, code hashcode(64));
INSERT INTO tiny SELECT i, code(64, i::text) FROM generate_series(1, 20) i;
CREATE INDEX mih_tiny ON tiny USING mih (code);
ANALYZE tiny;
EXPLAIN (COSTS off) SELECT id FROM tiny ORDER BY code <~> '0123456789abcdef' LIMIT 10;
EXPLAIN (COSTS off) SELECT id FROM tiny WHERE code <@ '<0123456789abcdef,3>';

CREATE TABLE large (id int, owner int, kind int, code hashcode(64));
INSERT INTO large SELECT i, i % 20000, i % 3, near(code(64, (i % 500)::text), i % 12, i::text) FROM generate_series(1, 60000) i;
CREATE INDEX mih_large ON large USING mih (code);
CREATE INDEX large_owner ON large (owner);
SET default_statistics_target = 400; -- of all rows, so that nothing is left to chance
ANALYZE large;
RESET default_statistics_target;
-- Few of many: the index, also behind a filter that passes many rows.
EXPLAIN (COSTS off) SELECT id FROM large ORDER BY code <~> '0123456789abcdef' LIMIT 10;
EXPLAIN (COSTS off) SELECT id FROM large WHERE kind = 1 ORDER BY code <~> '0123456789abcdef' LIMIT 10;
EXPLAIN (COSTS off) SELECT id FROM large WHERE code <@ '<0123456789abcdef,3>';
EXPLAIN (COSTS off) SELECT id FROM large WHERE hamming_within(code, '0123456789abcdef', 3);
EXPLAIN (COSTS off) SELECT id FROM large WHERE code <@ '<0123456789abcdef,3>' ORDER BY code <~> '0123456789abcdef' LIMIT 5;
EXPLAIN (COSTS off) SELECT q.id, k.id FROM tiny q, LATERAL (SELECT id FROM large ORDER BY code <~> q.code LIMIT 5) k;
-- Everything: no index pays.
EXPLAIN (COSTS off) SELECT id FROM large ORDER BY code <~> '0123456789abcdef';
EXPLAIN (COSTS off) SELECT id FROM large WHERE code <@ '<0123456789abcdef,60>';
EXPLAIN (COSTS off) SELECT count(*) FROM large;
-- Three rows of one owner: its own index and a sort.
EXPLAIN (COSTS off) SELECT id FROM large WHERE owner = 77 ORDER BY code <~> '0123456789abcdef' LIMIT 10;

-- Costs are numbers, and not negative, whatever is asked.
CREATE FUNCTION cost_is_sane(query text) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
	plan json;
	startup float8;
	total float8;
BEGIN
	EXECUTE 'EXPLAIN (FORMAT json) ' || query INTO plan;
	startup := (plan -> 0 -> 'Plan' ->> 'Startup Cost')::float8;
	total := (plan -> 0 -> 'Plan' ->> 'Total Cost')::float8;
	RETURN startup >= 0 AND total >= startup AND total < 'Infinity';
END $$;
CREATE TABLE none (id int, code hashcode);
CREATE INDEX mih_none ON none USING mih (code);
SET enable_seqscan = off;
SET enable_sort = off;
SELECT q, cost_is_sane(q) FROM unnest(ARRAY['SELECT FROM none', 'SELECT FROM none ORDER BY code <~> ''ff''', 'SELECT FROM none ORDER BY code <~> ''ff'' LIMIT 0',
	'SELECT FROM none WHERE code <@ ''<ff,9>''', 'SELECT FROM none WHERE code <@ NULL ORDER BY code <~> NULL', 'SELECT FROM large',
	'SELECT FROM large ORDER BY code <~> ''0123456789abcdef'' LIMIT 1', 'SELECT FROM large ORDER BY code <~> ''0123456789abcdef''',
	'SELECT FROM large WHERE code <@ ''<0123456789abcdef,64>''', 'SELECT FROM large WHERE code <@ ''<0123456789abcdef,0>'' AND false',
	'SELECT FROM large WHERE code IS NULL', 'SELECT FROM large WHERE kind = 99 ORDER BY code <~> ''0123456789abcdef'' LIMIT 1000000']) q;
SELECT count(*) FROM large;
RESET enable_seqscan;
RESET enable_sort;

-- A small ball is cheaper than a large one, and none dearer than reading the table.
CREATE FUNCTION cost_of_radius(r int) RETURNS float8 LANGUAGE plpgsql AS $$
DECLARE
	plan json;
BEGIN
	EXECUTE format('EXPLAIN (FORMAT json) SELECT FROM large WHERE code <@ ''<0123456789abcdef,%s>''', r) INTO plan;
	RETURN (plan -> 0 -> 'Plan' ->> 'Total Cost')::float8;
END $$;
SELECT cost_of_radius(0) * 3 < cost_of_radius(25) AS small_is_cheap, cost_of_radius(25) < cost_of_radius(64) AS large_is_dear,
	cost_of_radius(40) = cost_of_radius(64) AS bounded;
DROP SCHEMA mih_test CASCADE;
