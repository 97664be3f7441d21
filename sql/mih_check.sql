-- mih_check: a sound index passes, one that lacks a row or holds a wrong one does not.
\set ECHO none
\i test/mih.sql
\set ECHO all

CREATE TABLE k (id int, code hashcode(64));
CREATE INDEX mih_k ON k USING mih (code) WITH (chunks = 4);
SELECT mih_check('mih_k');
INSERT INTO k SELECT i, CASE WHEN i % 10 > 0 THEN near(code(64, (i % 9)::text), i % 7, i::text) END FROM generate_series(1, 2000) i;
SELECT mih_check('mih_k');
SELECT mih_flush('mih_k');
SELECT mih_check('mih_k'), mih_check('mih_k', false), mih_check('mih_k', true);
-- Dead rows may still have entries.
DELETE FROM k WHERE id % 4 = 0;
SELECT mih_check('mih_k');
VACUUM k;
SELECT mih_check('mih_k') = count(*) AS entries FROM k;
-- Rows of an open transaction, and of one that was undone.
BEGIN;
INSERT INTO k SELECT -1, code(64, 'new');
SELECT mih_check('mih_k') - count(*) AS more FROM k;
ROLLBACK;
SELECT mih_check('mih_k') - count(*) AS more FROM k;
-- HOT updates have one entry for all versions of a row.
UPDATE k SET id = id + 10000 WHERE id % 3 = 0;
SELECT mih_check('mih_k') > 0 AS checked;

-- A row hidden from the index: made as a partial index, then the condition is forgotten.
SET allow_system_table_mods = on;
\set VERBOSITY terse
CREATE TABLE h AS SELECT i AS id, code(64, i::text) AS code FROM generate_series(1, 500) i;
CREATE INDEX mih_h ON h USING mih (code) WHERE id <> 77;
SELECT mih_check('mih_h');
UPDATE pg_catalog.pg_index SET indpred = NULL WHERE indexrelid = 'mih_h'::regclass;
SELECT mih_check('mih_h', false);
DO $$ BEGIN
	PERFORM mih_check('mih_h');
	RAISE 'nothing found';
EXCEPTION WHEN index_corrupted THEN
	RAISE WARNING 'found';
END $$;
REINDEX INDEX mih_h;
SELECT mih_check('mih_h');

-- A code other than the table's: an expression whose meaning changed.
CREATE FUNCTION seen(c hashcode) RETURNS hashcode LANGUAGE plpgsql IMMUTABLE AS $$ BEGIN RETURN c; END $$;
CREATE TABLE e AS SELECT i AS id, code(64, i::text) AS code FROM generate_series(1, 500) i;
CREATE INDEX mih_e ON e USING mih (seen(code));
SELECT mih_check('mih_e');
CREATE OR REPLACE FUNCTION seen(c hashcode) RETURNS hashcode LANGUAGE plpgsql IMMUTABLE AS $$ BEGIN RETURN ~c; END $$;
SELECT mih_check('mih_e', false);
DO $$ BEGIN
	PERFORM mih_check('mih_e');
	RAISE 'nothing found';
EXCEPTION WHEN index_corrupted THEN
	RAISE WARNING 'found';
END $$;

-- Not for everything, nor for everybody.
SELECT mih_check('h');
SELECT mih_check('pg_class_oid_index');
SELECT mih_check(NULL);
CREATE ROLE mih_test_stranger;
GRANT USAGE ON SCHEMA mih_test TO mih_test_stranger;
SET ROLE mih_test_stranger;
SELECT mih_check('mih_k');
RESET ROLE;
DROP SCHEMA mih_test CASCADE;
DROP ROLE mih_test_stranger;
