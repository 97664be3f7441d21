-- mih_churn: the index through inserts, updates, deletes, flushes and VACUUMs.
\set ECHO none
\i test/mih.sql
\set ECHO all

CREATE TABLE c (id int, grp int, code hashcode(64)) WITH (autovacuum_enabled = off);
CREATE INDEX mih_c ON c USING mih (code) WITH (chunks = 4);
CREATE FUNCTION answers() RETURNS text LANGUAGE sql AS $$
	SELECT same(format('SELECT code <~> %L FROM c ORDER BY code <~> %1$L', code(64, '5'))) || ', '
		|| same(format('SELECT id FROM c WHERE code <@ hashball(%L, 6)', code(64, '5')), 'index')
		|| CASE WHEN mih_check('mih_c') >= (SELECT count(*) FROM c) THEN ', checked' END
$$;
SELECT mih_flush('mih_c');
SELECT answers();

-- Pending, flushed, pending again beside a segment.
INSERT INTO c SELECT i, i % 10, CASE WHEN i % 20 > 0 THEN near(code(64, (i % 9)::text), i % 7, i::text) END FROM generate_series(1, 2000) i;
SELECT bits, segments, chunks, rows, pending, nulls, dead_parts FROM mih_stats('mih_c');
SELECT answers();
SELECT mih_flush('mih_c');
SELECT bits, segments, chunks, rows, pending, nulls, dead_parts FROM mih_stats('mih_c');
SELECT answers();
SELECT mih_flush('mih_c');
INSERT INTO c SELECT i, i % 10, code(64, (i % 10)::text) FROM generate_series(2001, 3000) i;
SELECT answers();

-- Four flushes make four segments, which become one.
DO $$ BEGIN
	FOR k IN 1 .. 12 LOOP
		INSERT INTO c SELECT i, i % 10, code(64, (i % 100)::text) FROM generate_series(3000 + k * 100, 3099 + k * 100) i;
		PERFORM mih_flush('mih_c');
	END LOOP;
END $$;
SELECT segments < 8 AS merged, rows, pending FROM mih_stats('mih_c');
SELECT answers();

-- Deleted rows leave the index, in segments, pending pages and the list of NULLs.
DELETE FROM c WHERE grp IN (3, 4);
SELECT answers();
INSERT INTO c SELECT i, i % 10, CASE WHEN i % 3 > 0 THEN code(64, i::text) END FROM generate_series(5001, 5500) i;
DELETE FROM c WHERE id > 5400;
VACUUM c;
SELECT answers();
SELECT rows = (SELECT count(*) FROM c) AS right_rows, nulls = (SELECT count(*) FROM c WHERE code IS NULL) AS right_nulls, pending, dead_parts FROM mih_stats('mih_c');

-- Rows put where deleted ones were.
INSERT INTO c SELECT i, i % 10, code(64, i::text) FROM generate_series(6001, 7000) i;
SELECT answers();
UPDATE c SET code = ~code WHERE grp = 5;
UPDATE c SET grp = 11 WHERE grp = 6;
UPDATE c SET code = NULL WHERE grp = 7 AND id % 3 = 0;
UPDATE c SET code = code(64, '5') WHERE code IS NULL AND id % 2 = 0;
SELECT answers();
VACUUM (INDEX_CLEANUP off) c;
SELECT answers();
VACUUM c;
SELECT answers();
SELECT rows = (SELECT count(*) FROM c) AS right_rows FROM mih_stats('mih_c');

-- One VACUUM with little memory deletes in several rounds.
SET maintenance_work_mem = '1MB';
DELETE FROM c WHERE id % 2 = 0;
VACUUM c;
RESET maintenance_work_mem;
SELECT answers();
SELECT rows = (SELECT count(*) FROM c) AS right_rows FROM mih_stats('mih_c');

-- Churn does not make the file grow: pages are used again.
CREATE TABLE sizes (round int, pages bigint);
\set round 'UPDATE c SET code = code(64, id || \' in round \' || (SELECT count(*) FROM sizes)); VACUUM c; INSERT INTO sizes SELECT (SELECT count(*) FROM sizes), pages FROM mih_stats(\'mih_c\')'
:round;
:round;
:round;
:round;
:round;
:round;
:round;
:round;
:round;
:round;
SELECT max(pages) FILTER (WHERE round > 4) <= max(pages) FILTER (WHERE round <= 4) * 1.1 AS bounded FROM sizes;
SELECT answers() ~ '^same [0-9]+, same [0-9]+, checked$' AS answers;

-- The same with churn of NULLs, and without any code at the end.
UPDATE c SET code = NULL;
VACUUM c;
SELECT pending, segments, nulls = rows AS all_null FROM mih_stats('mih_c');
SELECT answers();
DELETE FROM c;
VACUUM c;
SELECT rows, pending, segments, nulls FROM mih_stats('mih_c');
SELECT answers();
-- An index whose file had pages for thousands of rows takes as many again without growing.
SELECT pages AS before FROM mih_stats('mih_c') \gset
INSERT INTO c SELECT i, 0, code(64, i::text) FROM generate_series(1, 2000) i;
VACUUM c;
SELECT pages <= :before + 10 AS reused FROM mih_stats('mih_c');
SELECT answers();

-- Long runs of one code cross pages; deletions thin them out.
TRUNCATE c;
INSERT INTO c SELECT i, i % 10, CASE WHEN i % 100 = 0 THEN code(64, i::text) ELSE code(64, (i % 2)::text) END FROM generate_series(1, 6000) i;
SELECT mih_flush('mih_c');
SELECT answers();
SELECT bytes_per_row < 60 AS shared FROM mih_stats('mih_c');
DELETE FROM c WHERE grp < 9 AND id % 7 > 0;
VACUUM c;
SELECT answers();
SELECT rows = (SELECT count(*) FROM c) AS right_rows FROM mih_stats('mih_c');

-- A cancelled flush leaves its list sealed; scans read it, the next flush takes it.
CREATE TABLE slow AS SELECT i AS id, code(256, i::text) AS code FROM generate_series(1, 4000) i;
CREATE INDEX mih_slow ON slow USING mih (code) WITH (chunks = 16, pending_pages = 60000);
INSERT INTO slow SELECT i, code(256, i::text) FROM generate_series(4001, 40000) i;
\set VERBOSITY terse
BEGIN;
SET LOCAL statement_timeout = '15ms';
SELECT mih_flush('mih_slow');
ROLLBACK;
SELECT same(format('SELECT code <~> %L FROM slow ORDER BY code <~> %1$L LIMIT 500', code(256, '39999')));
INSERT INTO slow SELECT i, code(256, i::text) FROM generate_series(40001, 40100) i;
SELECT mih_flush('mih_slow');
SELECT rows, pending, segments FROM mih_stats('mih_slow');
SELECT same(format('SELECT code <~> %L FROM slow ORDER BY code <~> %1$L LIMIT 500', code(256, '40001')));
-- What it had written is found and used again.
VACUUM slow;
SELECT same(format('SELECT code <~> %L FROM slow ORDER BY code <~> %1$L LIMIT 500', code(256, '40001')));
DROP SCHEMA mih_test CASCADE;
