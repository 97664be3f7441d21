-- mih_scan: scans started again, left half way, held open.
\set ECHO none
\i test/mih.sql
\set ECHO all

CREATE TABLE s (id int PRIMARY KEY, code hashcode(32));
INSERT INTO s SELECT i, CASE WHEN i % 100 > 0 THEN near(code(32, (i % 30)::text), i % 6, i::text) END FROM generate_series(1, 4000) i;
CREATE INDEX mih_s ON s USING mih (code) WITH (chunks = 2);
INSERT INTO s SELECT i, code(32, i::text) FROM generate_series(4001, 4300) i;
ANALYZE s;

-- One scan for each outer row: LATERAL, a nested loop, a subquery, a NULL among them.
SELECT same('SELECT d FROM (SELECT code FROM s WHERE id < 40 OR id = 100 ORDER BY id OFFSET 0) q, LATERAL
	(SELECT q.code <~> s.code AS d FROM s ORDER BY s.code <~> q.code LIMIT 7) k', 'index');
SELECT same('SELECT a.id * 10000 + b.id FROM s a JOIN s b ON b.code <@ hashball(a.code, 1) WHERE a.id < 60', 'index');
SELECT same('SELECT a.id * 10000 + b.id FROM s a JOIN s b ON hamming_within(b.code, a.code, 2) WHERE a.id BETWEEN 90 AND 110', 'bitmap');
SELECT same('SELECT (SELECT s.code <~> q.code FROM s WHERE s.id <> q.id ORDER BY s.code <~> q.code LIMIT 1) FROM s q WHERE id BETWEEN 1 AND 60 ORDER BY id', 'index');

-- Started again thousands of times it needs no more memory than once.
CREATE FUNCTION memory_grown() RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
	low bigint;
	high bigint;
	c refcursor;
BEGIN
	SET LOCAL enable_seqscan = off;
	OPEN c FOR SELECT k.id FROM generate_series(1, 6001) g, LATERAL
		(SELECT id FROM s ORDER BY code <~> ('x' || lpad(to_hex(g * 7919), 8, '0'))::bit(32)::hashcode LIMIT 1) k;
	MOVE FORWARD 500 IN c;
	SELECT sum(total_bytes) INTO low FROM pg_backend_memory_contexts WHERE name LIKE 'mih%';
	MOVE FORWARD 5500 IN c;
	SELECT sum(total_bytes) INTO high FROM pg_backend_memory_contexts WHERE name LIKE 'mih%';
	RETURN low IS NULL OR high > 2 * low;
END $$;
SELECT current_setting('server_version_num')::int >= 140000 AND memory_grown() AS memory_grown;

-- A prepared statement whose code is NULL at one call and not at the next.
SET enable_seqscan = off;
SET plan_cache_mode = force_generic_plan;
PREPARE nearest(hashcode, int) AS SELECT code <~> $1 AS d FROM s ORDER BY code <~> $1 LIMIT $2;
EXPLAIN (COSTS off) EXECUTE nearest('deadbeef', 3);
EXECUTE nearest('deadbeef', 3);
EXECUTE nearest(NULL, 2);
EXECUTE nearest('deadbeef', NULL) \g /dev/null
EXECUTE nearest('deadbeef', 0);
EXECUTE nearest('deadbeef00', 2);
EXECUTE nearest('deadbeef', 3);
PREPARE within(hashcode, int) AS SELECT count(*) FROM s WHERE hamming_within(code, $1, $2);
EXPLAIN (COSTS off) EXECUTE within('deadbeef', 3);
EXECUTE within('deadbeef', 8);
EXECUTE within('deadbeef', NULL);
EXECUTE within(NULL, 8);
EXECUTE within('deadbeef', -1);
EXECUTE within('deadbeef', 32);
RESET plan_cache_mode;
DEALLOCATE ALL;

-- Cursors: some rows, all rows, back again, past the end of the transaction.
BEGIN;
DECLARE c SCROLL CURSOR FOR SELECT code <~> '00ff00ff' AS d FROM s WHERE code IS NOT NULL ORDER BY code <~> '00ff00ff';
FETCH 3 FROM c;
MOVE FORWARD 1000 IN c;
FETCH BACKWARD 1 FROM c;
FETCH FIRST FROM c;
FETCH LAST FROM c;
DECLARE plain NO SCROLL CURSOR FOR SELECT code <~> '00ff00ff' AS d FROM s ORDER BY code <~> '00ff00ff';
FETCH 2 FROM plain;
SAVEPOINT a;
FETCH BACKWARD 1 FROM plain;
ROLLBACK TO a;
DECLARE held CURSOR WITH HOLD FOR SELECT code <~> '00ff00ff' AS d FROM s ORDER BY code <~> '00ff00ff' LIMIT 5;
FETCH 1 FROM held;
COMMIT;
DELETE FROM s WHERE id % 2 = 0;
VACUUM s;
FETCH ALL FROM held;
CLOSE held;

-- A cursor opened in a subtransaction that is undone, with pins to let go.
BEGIN;
SAVEPOINT a;
DECLARE c CURSOR FOR SELECT id FROM s ORDER BY code <~> '00ff00ff';
FETCH 1 FROM c \g /dev/null
ROLLBACK TO a;
SELECT count(*) FROM s WHERE hamming_within(code, '00ff00ff', 7);
COMMIT;

-- Rows of this very statement: the scan does not see what it inserts, also when
-- the insertions sort the pending entries under it.
ALTER INDEX mih_s SET (pending_pages = 1);
INSERT INTO s SELECT -id, code FROM s ORDER BY code <~> '00ff00ff';
SELECT count(*), count(DISTINCT id) FROM s;
INSERT INTO s SELECT id - 100000, code FROM s ORDER BY code <~> '00ff00ff';
SELECT count(*), count(DISTINCT id) FROM s;
RESET enable_seqscan;
SELECT same('SELECT code <~> ''00ff00ff'' FROM s ORDER BY code <~> ''00ff00ff''');

-- A locking clause, a limit with ties, a merge join that would want marks.
SELECT same('SELECT code <~> ''00ff00ff'' FROM (SELECT code FROM s ORDER BY code <~> ''00ff00ff'' LIMIT 5 FOR UPDATE) x');
SELECT same('SELECT code <~> ''00ff00ff'' FROM s ORDER BY code <~> ''00ff00ff'' FETCH FIRST 5 ROWS WITH TIES');

-- Nothing but the count is wanted: no index-only scan, which the index cannot do.
SET enable_seqscan = off;
SELECT count(*) FROM s;
SELECT count(*) FROM s WHERE code IS NULL;
SELECT EXISTS (SELECT FROM s WHERE code <@ '<00ff00ff,32>');
RESET enable_seqscan;
DROP SCHEMA mih_test CASCADE;
