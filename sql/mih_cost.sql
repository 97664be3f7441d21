-- mih_cost: which plan is taken on both sides of the line; bench/plan.sql shows that it
-- is the faster one.  And costs that rise with what is asked.
\set ECHO none
\i test/mih.sql
\set ECHO all

CREATE FUNCTION make(name text, n int) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
	EXECUTE format('CREATE TABLE %I AS SELECT g AS id, g %% 2 = 0 AS half, hashint4(g) %% 10 = 0 AS tenth, g %% 1000 AS thousandth, g %% greatest(%s / 10, 1) AS ten,
		CASE WHEN g %% 100 > 0 THEN hashcode(hashtextextended((g %% 97)::text, 0) # (hashtextextended(g::text, 1) & hashtextextended(g::text, 2) & hashtextextended(g::text, 3))) END AS code
		FROM generate_series(1, %2$s) g', name, n);
	EXECUTE format('CREATE INDEX mih_%1$s ON %1$I USING mih (code); CREATE INDEX ON %1$I (thousandth); CREATE INDEX ON %1$I (ten); ANALYZE %1$I', name);
END $$;
SET default_statistics_target = 400; -- of all rows, so that nothing is left to chance
SELECT make('tiny', 20), make('small', 2000), make('large', 100000);
-- What a query's plan reads the table by.
CREATE FUNCTION reads_by(query text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	plan text;
BEGIN
	EXECUTE 'EXPLAIN (FORMAT json) ' || query INTO plan;
	RETURN CASE WHEN plan ~ '"mih_' THEN 'mih' WHEN plan ~ 'Index Name' THEN 'btree' WHEN plan ~ 'Seq Scan' THEN 'table' END
		|| CASE WHEN plan ~ '"Sort"' THEN ' and sort' ELSE '' END;
END $$;
SELECT what, reads_by(replace(query, 'TABLE_', 'tiny')) AS tiny, reads_by(replace(query, 'TABLE_', 'small')) AS small, reads_by(replace(query, 'TABLE_', 'large')) AS large
FROM (VALUES (1, 'ten nearest', 'SELECT id FROM TABLE_ ORDER BY code <~> CODE_ LIMIT 10'),
	(2, 'a thousand nearest', 'SELECT id FROM TABLE_ ORDER BY code <~> CODE_ LIMIT 1000'),
	(3, 'all in order', 'SELECT id FROM TABLE_ ORDER BY code <~> CODE_'),
	(4, 'all in order, id too', 'SELECT id FROM TABLE_ ORDER BY code <~> CODE_, id'),
	(5, 'half', 'SELECT id FROM TABLE_ WHERE half ORDER BY code <~> CODE_ LIMIT 10'),
	(6, 'ten rows by btree', 'SELECT id FROM TABLE_ WHERE ten = 1 ORDER BY code <~> CODE_ LIMIT 10'),
	(7, 'a thousandth by btree', 'SELECT id FROM TABLE_ WHERE thousandth = 1 ORDER BY code <~> CODE_ LIMIT 10'),
	(8, 'nine tenths by btree', 'SELECT id FROM TABLE_ WHERE thousandth < 900 ORDER BY code <~> CODE_ LIMIT 10'),
	(9, 'one row by btree', 'SELECT id FROM TABLE_ WHERE ten = 1 AND thousandth = 1 AND code <@ hashball(CODE_, 20)'),
	(10, 'radius 0', 'SELECT id FROM TABLE_ WHERE code <@ hashball(CODE_, 0)'),
	(11, 'radius 10', 'SELECT id FROM TABLE_ WHERE hamming_within(code, CODE_, 10)'),
	(12, 'radius 45', 'SELECT id FROM TABLE_ WHERE hamming_within(code, CODE_, 45)'),
	(13, 'radius 64', 'SELECT id FROM TABLE_ WHERE code <@ hashball(CODE_, 64)'),
	(14, 'radius 4 in order', 'SELECT id FROM TABLE_ WHERE code <@ hashball(CODE_, 4) ORDER BY code <~> CODE_ LIMIT 10'),
	(15, 'radius 60 in order', 'SELECT id FROM TABLE_ WHERE code <@ hashball(CODE_, 60) ORDER BY code <~> CODE_'),
	(16, 'radius 60, ten nearest', 'SELECT id FROM TABLE_ WHERE code <@ hashball(CODE_, 60) ORDER BY code <~> CODE_ LIMIT 10'),
	(17, 'join by radius', 'SELECT count(*) FROM tiny z JOIN TABLE_ ON TABLE_.code <@ hashball(z.code, 4)'),
	(18, 'farthest', 'SELECT id FROM TABLE_ ORDER BY code <~> CODE_ DESC LIMIT 10'),
	(19, 'count', 'SELECT count(*) FROM TABLE_')) v(n, what, pattern),
	LATERAL (SELECT replace(pattern, 'CODE_', '''0123456789abcdef''')) s(query) ORDER BY n;
-- A cursor is planned for its first tenth, a parameter for the limit unknown.
BEGIN;
SET LOCAL cursor_tuple_fraction = 0.01;
EXPLAIN (COSTS off) DECLARE c CURSOR FOR SELECT id FROM large ORDER BY code <~> '0123456789abcdef';
SET LOCAL cursor_tuple_fraction = 1;
EXPLAIN (COSTS off) DECLARE c CURSOR FOR SELECT id FROM large ORDER BY code <~> '0123456789abcdef';
COMMIT;

-- Costs rise with the radius and with the rows wanted.  (Of the index alone: the
-- server's own price of a bitmap's pages falls when nearly all are wanted.)
CREATE FUNCTION cost(query text, node text) RETURNS float8 LANGUAGE plpgsql AS $$
DECLARE
	plan jsonb;
BEGIN
	EXECUTE 'EXPLAIN (FORMAT json) ' || query INTO plan;
	RETURN jsonb_path_query_first(plan, '$.** ? (@."Node Type" == $node)."Total Cost"', jsonb_build_object('node', node))::float8;
END $$;
SET enable_seqscan = off;
SET enable_sort = off;
SET enable_bitmapscan = off;
CREATE TEMP TABLE costs AS
	SELECT r, cost(format('SELECT id FROM large WHERE code <@ hashball(''0123456789abcdef'', %s)', r), 'Index Scan') AS within,
		cost(format('SELECT id FROM large WHERE code <@ hashball(%L, %s)', (SELECT code FROM large WHERE id = 77), r), 'Index Scan') AS near,
		cost(format('SELECT id FROM large WHERE code <@ hashball(''0123456789abcdef'', %s) ORDER BY code <~> ''0123456789abcdef''', r), 'Index Scan') AS ordered,
		cost(format('SELECT id FROM large ORDER BY code <~> ''0123456789abcdef'' LIMIT %s', 2 ^ (r / 4)), 'Limit') AS nearest,
		cost(format('SELECT id FROM large WHERE thousandth < %s ORDER BY code <~> ''0123456789abcdef'' LIMIT 10', 1000 - 15 * r), 'Limit') AS filtered
	FROM generate_series(0, 64) r;
SET enable_indexscan = off;
SET enable_bitmapscan = on;
CREATE TEMP TABLE bitmap_costs AS SELECT r, cost(format('SELECT id FROM large WHERE code <@ hashball(''0123456789abcdef'', %s)', r), 'Bitmap Index Scan') AS bitmap FROM generate_series(0, 64) r;
RESET enable_indexscan;
RESET enable_seqscan;
RESET enable_sort;
SELECT count(*) AS steps, bool_and(c.within >= b.within) AS within, bool_and(c.near >= b.near) AS near, bool_and(c.ordered >= b.ordered) AS ordered,
	bool_and(c.nearest >= b.nearest) AS nearest, bool_and(c.filtered >= b.filtered) AS filtered, bool_and(cb.bitmap >= bb.bitmap) AS bitmap
FROM costs c JOIN bitmap_costs cb USING (r) JOIN costs b ON b.r = c.r - 1 JOIN bitmap_costs bb ON bb.r = b.r;
DROP SCHEMA mih_test CASCADE;
