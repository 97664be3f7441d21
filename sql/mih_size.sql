-- mih_size: the index of a table that churns for long stays within 1.5 times the size of a fresh one.
\set ECHO none
\i test/mih.sql
\set ECHO all

-- Several tables, however few rows there are.
CREATE TABLE s (id int, version int, code hashcode(64)) WITH (autovacuum_enabled = off);
INSERT INTO s SELECT i, 0, hashcode(hashint8extended(i, 0)) FROM generate_series(1, 100000) i;
CREATE INDEX mih_s ON s USING mih (code) WITH (chunks = 4);
SELECT chunks > 1 AS several, pg_relation_size('mih_s') / 8192 AS fresh FROM mih_stats('mih_s') \gset
SELECT :'several' AS several_tables;

-- Rows are updated, deleted and inserted; a VACUUM whenever an eighth of them has changed.
CREATE TABLE sizes (round int, blocks bigint);
CREATE PROCEDURE churn(round int) LANGUAGE sql AS $$
	UPDATE s SET version = round, code = hashcode(hashint8extended(id, round)) WHERE id % 16 = round % 16;
	DELETE FROM s WHERE id % 16 = (round + 5) % 16;
	INSERT INTO s SELECT i, round, hashcode(hashint8extended(i, round)) FROM generate_series(1, 100000) i WHERE i % 16 = (round + 5) % 16;
$$;
\set ECHO none
SELECT format('CALL churn(%s)', r), 'VACUUM s', format('INSERT INTO sizes VALUES (%s, pg_relation_size(''mih_s'') / 8192)', r)
FROM generate_series(1, 14) r \gexec
\set ECHO all
SELECT max(blocks) < 1.5 * :fresh AS small FROM sizes;
SELECT count(*) AS rounds, mih_check('mih_s') = (SELECT count(*) FROM s) AS checked FROM sizes;
SELECT same(format('SELECT code <~> %L FROM s ORDER BY code <~> %1$L LIMIT 1000', hashcode(17::bigint)));
-- One segment again, and no larger for it.
SELECT mih_merge('mih_s') > 0 AS merged;
SELECT segments, chunks > 1 AS several_tables, pages < 1.5 * :fresh AS small FROM mih_stats('mih_s');
SELECT mih_check('mih_s') = (SELECT count(*) FROM s) AS checked;
SELECT same(format('SELECT code <~> %L FROM s ORDER BY code <~> %1$L LIMIT 1000', hashcode(17::bigint)));

DROP SCHEMA mih_test CASCADE;
