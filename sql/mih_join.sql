-- mih_join: a set of queries against a table, and other plans that start scans
-- again and again or leave them half way.
\set ECHO none
\i test/mih.sql
\set ECHO all

CREATE TABLE t (id int PRIMARY KEY, code hashcode(64));
CREATE FUNCTION few_bits(seed text) RETURNS bigint LANGUAGE sql IMMUTABLE AS $$
	SELECT hashtextextended(seed, 1) & hashtextextended(seed, 2) & hashtextextended(seed, 3)
$$;
INSERT INTO t SELECT g, CASE WHEN g % 500 > 0 THEN hashcode(hashtextextended((g % 100)::text, 0) # few_bits(g::text)) END FROM generate_series(1, 20000) g;
CREATE INDEX mih_t ON t USING mih (code) WITH (chunks = 4);
INSERT INTO t SELECT g, hashcode(hashtextextended((g % 100)::text, 0) # few_bits(g::text)) FROM generate_series(20001, 20300) g;
-- Queries: rows of the table, strangers, and NULL in between.
CREATE TABLE q (id int PRIMARY KEY, code hashcode(64), k int, r int);
INSERT INTO q SELECT g, CASE g % 10 WHEN 0 THEN NULL WHEN 1 THEN hashcode(hashtextextended(g::text, 5))
	ELSE hashcode(hashtextextended((g % 100)::text, 0) # few_bits((-g)::text)) END, CASE WHEN g % 9 > 0 THEN g % 9 END, CASE WHEN g % 7 > 0 THEN 2 * (g % 7) END FROM generate_series(1, 150) g;
ANALYZE t;
ANALYZE q;

-- The k nearest of each, with one k for all and with k from the query's row.
SELECT same('SELECT q.code <~> n.code FROM (SELECT * FROM q ORDER BY id OFFSET 0) q, LATERAL (SELECT code FROM t ORDER BY t.code <~> q.code LIMIT 5) n', 'index');
SELECT same('SELECT coalesce(q.code <~> n.code, -1) FROM (SELECT * FROM q WHERE k IS NOT NULL ORDER BY id OFFSET 0) q LEFT JOIN LATERAL (SELECT code FROM t ORDER BY t.code <~> q.code LIMIT q.k) n ON true', 'index');
-- The k nearest of each but itself, with a filter, in a ball of its own radius.
SELECT same('SELECT q.code <~> n.code FROM (SELECT * FROM t WHERE id % 150 = 1 ORDER BY id OFFSET 0) q, LATERAL (SELECT code FROM t WHERE t.id <> q.id AND t.id % 2 = 0 ORDER BY t.code <~> q.code LIMIT 3) n', 'index');
SELECT same('SELECT q.code <~> n.code FROM (SELECT * FROM q ORDER BY id OFFSET 0) q, LATERAL (SELECT code FROM t WHERE t.code <@ hashball(q.code, q.r) ORDER BY t.code <~> q.code LIMIT 6) n', 'index');
SELECT same('SELECT q.code <~> n.code FROM (SELECT * FROM q ORDER BY id OFFSET 0) q, LATERAL (SELECT code FROM t WHERE t.code <@ hashball(q.code, 12) ORDER BY t.code <~> ~ q.code LIMIT 6) n', 'index');
-- Everything within the radius: nested loops, both sides, and a semi and an anti join.
SELECT same('SELECT q.id * 100000 + t.id FROM q JOIN t ON t.code <@ hashball(q.code, 6)', 'index');
SELECT same('SELECT q.id * 100000 + t.id FROM q JOIN t ON hamming_within(q.code, t.code, q.r)', 'index');
SELECT same('SELECT q.id * 100000 + t.id FROM q JOIN t ON hamming_within(q.code, t.code, 8)', 'bitmap');
SELECT same('SELECT id FROM q WHERE EXISTS (SELECT FROM t WHERE hamming_within(t.code, q.code, 7))', 'index');
SELECT same('SELECT id FROM q WHERE NOT EXISTS (SELECT FROM t WHERE t.code <@ hashball(q.code, 3))', 'index');
SELECT same('SELECT (SELECT min(d) FROM (SELECT t.code <~> q.code AS d FROM t ORDER BY t.code <~> q.code LIMIT 3) s) FROM q ORDER BY id', 'index');
-- Two levels: the nearest of the nearest.
SELECT same('SELECT b.code <~> c.code FROM (SELECT * FROM q WHERE id < 30 ORDER BY id OFFSET 0) a, LATERAL (SELECT code FROM t ORDER BY t.code <~> a.code, id LIMIT 1) b, LATERAL (SELECT code FROM t ORDER BY t.code <~> b.code LIMIT 3) c', 'index');

-- Partitions: the lists of several indexes are merged in order.
CREATE TABLE parts (id int, day int, code hashcode(64)) PARTITION BY RANGE (day);
CREATE TABLE parts_a PARTITION OF parts FOR VALUES FROM (0) TO (10);
CREATE TABLE parts_b PARTITION OF parts FOR VALUES FROM (10) TO (20);
CREATE TABLE parts_c PARTITION OF parts DEFAULT;
CREATE INDEX ON parts USING mih (code);
ALTER INDEX parts_a_code_idx RENAME TO mih_parts_a;
INSERT INTO parts SELECT id, id % 35, code FROM t;
ANALYZE parts;
SET enable_seqscan = off;
EXPLAIN (COSTS off) SELECT id FROM parts ORDER BY code <~> '0123456789abcdef' LIMIT 10;
RESET enable_seqscan;
SELECT same('SELECT code <~> ''0123456789abcdef'' FROM parts ORDER BY code <~> ''0123456789abcdef'' LIMIT 500');
SELECT same('SELECT code <~> ''0123456789abcdef'' FROM parts WHERE day < 12 ORDER BY code <~> ''0123456789abcdef''');
SELECT same('SELECT id FROM parts WHERE hamming_within(code, (SELECT code FROM q WHERE id = 2), 14)', 'index');
SELECT same('SELECT q.code <~> n.code FROM (SELECT * FROM q WHERE id < 40 ORDER BY id OFFSET 0) q, LATERAL (SELECT code FROM parts p WHERE p.day >= 5 ORDER BY p.code <~> q.code LIMIT 4) n', 'index');

-- Workers above and beside the scan.
CREATE TABLE wide AS SELECT g AS id, hashcode(hashtextextended((g % 100)::text, 0) # few_bits((g + 77)::text)) AS code FROM generate_series(1, 300) g;
ANALYZE wide;
SET max_parallel_workers_per_gather = 2;
SET parallel_setup_cost = 0;
SET parallel_tuple_cost = 0;
SET min_parallel_table_scan_size = 0;
SET enable_seqscan = on;
CREATE FUNCTION workers_and_index(query text) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
	line text;
	gather boolean := false;
	below boolean := false;
BEGIN
	FOR line IN EXECUTE 'EXPLAIN (COSTS off) ' || query LOOP
		gather := gather OR line ~ 'Gather';
		below := below OR gather AND line ~ 'Scan (using|on) mih_t';
	END LOOP;
	RETURN below;
END $$;
SELECT workers_and_index('SELECT count(*), sum(t.code <~> w.code) FROM wide w JOIN t ON t.code <@ hashball(w.code, 8)');
CREATE TEMP TABLE by_workers AS SELECT count(*), sum(t.code <~> w.code) FROM wide w JOIN t ON t.code <@ hashball(w.code, 8);
CREATE TEMP TABLE nearest_by_workers AS SELECT sum(n.d) FROM wide w, LATERAL (SELECT t.code <~> w.code AS d FROM t ORDER BY t.code <~> w.code LIMIT 3) n;
SET max_parallel_workers_per_gather = 0;
SET enable_indexscan = off;
SET enable_bitmapscan = off;
SELECT (SELECT by_workers FROM by_workers) = (count(*), sum(t.code <~> w.code)) AS same, count(*) > 100 AS many FROM wide w JOIN t ON t.code <@ hashball(w.code, 8);
SELECT (SELECT sum FROM nearest_by_workers) = sum(n.d) AS same FROM wide w, LATERAL (SELECT t.code <~> w.code AS d FROM t ORDER BY t.code <~> w.code LIMIT 3) n;
RESET enable_indexscan;
RESET enable_bitmapscan;
RESET parallel_setup_cost;
RESET parallel_tuple_cost;
RESET min_parallel_table_scan_size;

-- PL/pgSQL: loops over scans left half way, an error inside each second one.
CREATE FUNCTION loops() RETURNS TABLE (rounds int, errors int, distance_sum bigint) LANGUAGE plpgsql AS $$
DECLARE
	a record;
	b record;
BEGIN
	rounds := 0;
	errors := 0;
	distance_sum := 0;
	FOR a IN SELECT * FROM q WHERE code IS NOT NULL ORDER BY id LOOP
		BEGIN
			FOR b IN SELECT t.code <~> a.code AS d FROM t ORDER BY t.code <~> a.code LIMIT 400 LOOP
				rounds := rounds + 1;
				distance_sum := distance_sum + b.d;
				EXIT WHEN b.d > 12;
				IF rounds % 50 = 0 THEN
					PERFORM 1 / (b.d - b.d);
				END IF;
			END LOOP;
		EXCEPTION WHEN division_by_zero THEN
			errors := errors + 1;
		END;
	END LOOP;
	RETURN NEXT;
END $$;
CREATE FUNCTION loops_agree() RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	by_index record;
	by_sort record;
BEGIN
	SET LOCAL enable_seqscan = off;
	SET LOCAL enable_sort = off;
	SELECT * INTO by_index FROM loops();
	RESET enable_seqscan;
	RESET enable_sort;
	SET LOCAL enable_indexscan = off;
	SELECT * INTO by_sort FROM loops();
	RETURN CASE WHEN by_index = by_sort AND by_index.errors > 3 THEN 'same' ELSE format('%s, right is %s', by_index, by_sort) END;
END $$;
SELECT loops_agree();

-- A subtransaction undone while a scan begun before it goes on; one begun in it is gone.
BEGIN;
SET LOCAL enable_seqscan = off;
SET LOCAL enable_sort = off;
DECLARE outside CURSOR FOR SELECT code <~> '0123456789abcdef' AS d FROM t ORDER BY code <~> '0123456789abcdef';
MOVE FORWARD 100 IN outside;
SAVEPOINT s;
INSERT INTO t SELECT -g, '0123456789abcdef' FROM generate_series(1, 2000) g;
SELECT mih_flush('mih_t') > 0 AS flushed;
DECLARE inside CURSOR FOR SELECT code <~> '0123456789abcdef' AS d FROM t ORDER BY code <~> '0123456789abcdef';
FETCH 1 FROM inside;
FETCH 2 FROM outside;
ROLLBACK TO s;
FETCH 2 FROM outside;
SELECT count(*) FROM t WHERE code <@ '<0123456789abcdef,0>';
MOVE FORWARD 30000 IN outside;
COMMIT;
SELECT same('SELECT code <~> ''0123456789abcdef'' FROM t ORDER BY code <~> ''0123456789abcdef'' LIMIT 104');

-- Generic plans of a join, and a cursor over one that outlives its transaction.
SET plan_cache_mode = force_generic_plan;
SET enable_seqscan = off;
PREPARE near_of(int, int) AS SELECT q.id, count(*), sum(n.d) FROM q, LATERAL (SELECT t.code <~> q.code AS d FROM t ORDER BY t.code <~> q.code LIMIT $2) n WHERE q.id BETWEEN $1 AND $1 + 2 GROUP BY q.id ORDER BY 1;
CREATE TEMP TABLE prepared AS EXECUTE near_of(8, 4);
EXECUTE near_of(8, 0);
BEGIN;
DECLARE held CURSOR WITH HOLD FOR SELECT q.id, n.d FROM (SELECT * FROM q WHERE id IN (8, 9) ORDER BY id OFFSET 0) q, LATERAL (SELECT t.code <~> q.code AS d FROM t ORDER BY t.code <~> q.code LIMIT 2) n;
COMMIT;
MOVE FORWARD 4 IN held;
FETCH 1 FROM held;
CLOSE held;
RESET enable_seqscan;
RESET plan_cache_mode;
SET enable_indexscan = off;
DEALLOCATE near_of;
PREPARE near_of(int, int) AS SELECT q.id, count(*), sum(n.d) FROM q, LATERAL (SELECT t.code <~> q.code AS d FROM t ORDER BY t.code <~> q.code LIMIT $2) n WHERE q.id BETWEEN $1 AND $1 + 2 GROUP BY q.id ORDER BY 1;
CREATE TEMP TABLE by_sort AS EXECUTE near_of(8, 4);
SELECT count(*), bool_and(p.count = b.count AND p.sum IS NOT DISTINCT FROM b.sum) AS same FROM prepared p JOIN by_sort b USING (id);
DROP SCHEMA mih_test CASCADE;
