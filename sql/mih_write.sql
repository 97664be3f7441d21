-- mih_write: inserts, merges, VACUUM and churn, by what they leave behind.
\set ECHO none
\i test/mih.sql
\set ECHO all
\set VERBOSITY terse

CREATE TABLE w (id int, grp int, code hashcode(64)) WITH (autovacuum_enabled = off);
CREATE INDEX mih_w ON w USING mih (code) WITH (chunks = 4, pending_pages = 4);
CREATE FUNCTION answers() RETURNS text LANGUAGE sql AS $$
	SELECT same(format('SELECT code <~> %L FROM w ORDER BY code <~> %1$L', code(64, '5'))) || ', '
		|| same(format('SELECT id FROM w WHERE code <@ hashball(%L, 8)', code(64, '5')), 'index')
		|| CASE WHEN mih_check('mih_w') >= (SELECT count(*) FROM w) THEN ', checked' END
$$;

-- A backend remembers where it appended last; whatever happens to that page, rows go where they belong.
PREPARE one (int) AS INSERT INTO w VALUES ($1, $1 % 10, CASE WHEN $1 % 5 > 0 THEN code(64, $1::text) END);
EXECUTE one(1);
EXECUTE one(2);
EXECUTE one(5);
EXECUTE one(10);
SELECT mih_flush('mih_w');
EXECUTE one(3);
EXECUTE one(15);
SELECT rows, pending, nulls FROM mih_stats('mih_w');
TRUNCATE w;
EXECUTE one(4);
EXECUTE one(20);
SELECT rows, pending, nulls FROM mih_stats('mih_w');
REINDEX INDEX mih_w;
EXECUTE one(6);
SELECT rows, pending, nulls FROM mih_stats('mih_w');
DELETE FROM w;
VACUUM w;
EXECUTE one(7);
SELECT rows, pending, nulls FROM mih_stats('mih_w');
BEGIN;
SAVEPOINT a;
EXECUTE one(8);
ROLLBACK TO a;
TRUNCATE w;
EXECUTE one(9);
ROLLBACK;
EXECUTE one(11);
-- A table made in the transaction is truncated in place.
BEGIN;
CREATE TABLE fresh (code hashcode(64));
CREATE INDEX mih_fresh ON fresh USING mih (code);
INSERT INTO fresh VALUES (NULL);
INSERT INTO fresh SELECT code(64, i::text) FROM generate_series(1, 2000) i;
TRUNCATE fresh;
INSERT INTO fresh VALUES (code(64, '1'));
INSERT INTO fresh VALUES (NULL);
TRUNCATE fresh;
INSERT INTO fresh VALUES (NULL);
INSERT INTO fresh VALUES (code(64, '2'));
SELECT mih_check('mih_fresh'), rows, pending, nulls FROM mih_stats('mih_fresh');
COMMIT;
-- A code of another length is refused also where the last row went.
CREATE TABLE anylength (code hashcode);
CREATE INDEX mih_anylength ON anylength USING mih (code);
INSERT INTO anylength VALUES (code(64, '1'));
INSERT INTO anylength VALUES (code(64, '2'));
INSERT INTO anylength VALUES (code(65, '2'));
INSERT INTO anylength VALUES (code(64, '3'));
SELECT rows, pending FROM mih_stats('mih_anylength');
SELECT answers();

-- Inserters flush, and leave few segments behind; VACUUM levels them, mih_merge makes one.
TRUNCATE w;
DO $$ BEGIN
	FOR k IN 0 .. 29 LOOP
		INSERT INTO w SELECT i, i % 10, CASE WHEN i % 50 > 0 THEN code(64, i::text) END FROM generate_series(k * 3000 + 1, k * 3000 + 3000) i;
	END LOOP;
END $$;
SELECT segments BETWEEN 8 AND 26 AS some, rows, nulls, pending < 5 * 579 AS flushed FROM mih_stats('mih_w');
SELECT answers();
VACUUM w;
SELECT segments <= 9 AS levelled, rows, pending FROM mih_stats('mih_w');
SELECT answers();
INSERT INTO w SELECT i, i % 10, code(64, i::text) FROM generate_series(90001, 90100) i;
SELECT mih_merge('mih_w') > 1 AS merged;
SELECT segments, rows, pending FROM mih_stats('mih_w');
SELECT mih_merge('mih_w');
SELECT answers();

-- VACUUM deletes from every table of a segment, from runs and from plain pages; here in several rounds.
INSERT INTO w SELECT i, i % 10, code(64, (i % 7)::text) FROM generate_series(100001, 110000) i;
SELECT mih_merge('mih_w');
SET maintenance_work_mem = '1MB';
DELETE FROM w WHERE hashint4(id) % 3 = 0;
VACUUM w;
RESET maintenance_work_mem;
SELECT answers();
SELECT rows = (SELECT count(*) FROM w) AS right_rows, nulls = (SELECT count(*) FROM w WHERE code IS NULL) AS right_nulls FROM mih_stats('mih_w');
-- What only one segment lost, leaves the others as they are.
INSERT INTO w SELECT i, i % 10, code(64, i::text) FROM generate_series(120001, 130000) i;
SELECT mih_flush('mih_w') > 0 AS flushed;
DELETE FROM w WHERE id > 125000;
VACUUM w;
SELECT answers();
SELECT reltuples = (SELECT count(*) FROM w) AS right_tuples FROM pg_class WHERE relname = 'mih_w';
-- Everything on a page goes.
DELETE FROM w WHERE code IN (SELECT code(64, i::text) FROM generate_series(0, 6) i);
VACUUM w;
SELECT answers();

-- VACUUM in parallel, an index to a worker.
CREATE INDEX mih_w2 ON w USING mih ((~code));
SET min_parallel_index_scan_size = 0;
DELETE FROM w WHERE id % 4 = 0;
VACUUM (PARALLEL 2) w;
RESET min_parallel_index_scan_size;
SELECT answers();
SELECT mih_check('mih_w2') = (SELECT count(*) FROM w) AS checked;
DROP INDEX mih_w2;

DROP SCHEMA mih_test CASCADE;
