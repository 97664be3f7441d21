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

-- One table, with codes that gather about centres: rewritten in pieces.
CREATE FUNCTION clustered(i bigint, version int) RETURNS hashcode LANGUAGE sql IMMUTABLE AS $$
	SELECT hashcode(hashint8extended(i % 40, 77)
		# (hashint8extended(i, version) & hashint8extended(i, version + 1000) & hashint8extended(i, version + 2000)))
$$;
CREATE TABLE o (id int, version int, code hashcode(64)) WITH (autovacuum_enabled = off);
INSERT INTO o SELECT i, 0, clustered(i, 0) FROM generate_series(1, 160000) i;
CREATE INDEX mih_o ON o USING mih (code) WITH (layout = references);
CREATE INDEX mih_p ON o USING mih (code) WITH (layout = packed);
SELECT segments, chunks, pg_relation_size('mih_o') / 8192 AS fresh_o FROM mih_stats('mih_o') \gset
SELECT segments, chunks, pg_relation_size('mih_p') / 8192 AS fresh_p FROM mih_stats('mih_p') \gset
CREATE TABLE single (round int, o bigint, p bigint);
CREATE PROCEDURE churn_single(round int) LANGUAGE sql AS $$
	UPDATE o SET version = round, code = clustered(id, round) WHERE id % 16 = round % 16;
	DELETE FROM o WHERE id % 16 = (round + 5) % 16;
	INSERT INTO o SELECT i, round, clustered(i, round) FROM generate_series(1, 160000) i WHERE i % 16 = (round + 5) % 16;
$$;
\set ECHO none
SELECT format('CALL churn_single(%s)', r), 'VACUUM o',
	format('INSERT INTO single VALUES (%s, pg_relation_size(''mih_o'') / 8192, pg_relation_size(''mih_p'') / 8192)', r)
FROM generate_series(1, 20) r \gexec
\set ECHO all
SELECT max(o) < 1.5 * :fresh_o AS references_small, max(p) < 1.5 * :fresh_p AS packed_small,
	max(o) FILTER (WHERE round > 10) <= 1.05 * max(o) FILTER (WHERE round <= 10) AS settled FROM single;
SELECT segments > 1 AS pieces FROM mih_stats('mih_o');
SELECT mih_check('mih_o', true) = (SELECT count(*) FROM o) AS checked_o, mih_check('mih_p', true) = (SELECT count(*) FROM o) AS checked_p;
SELECT same(format('SELECT code <~> %L FROM o ORDER BY code <~> %1$L LIMIT 1000', clustered(17, 0)));
-- A small one, rows picked at random: a piece is a large part of it, hence the pages besides.
CREATE TABLE w (id int, version int, code hashcode(64)) WITH (autovacuum_enabled = off);
INSERT INTO w SELECT i, 0, clustered(i, 0) FROM generate_series(1, 20000) i;
CREATE INDEX mih_w ON w USING mih (code);
SELECT pg_relation_size('mih_w') / 8192 AS fresh_w \gset
CREATE TABLE small (round int, w bigint);
CREATE PROCEDURE churn_small(round int) LANGUAGE plpgsql AS $$
BEGIN
	UPDATE w SET version = round, code = clustered(id, round) WHERE hashint8extended(id, round) % 16 = 0;
	CREATE TEMP TABLE gone AS SELECT id FROM w WHERE hashint8extended(id, round + 1000) % 16 = 0;
	DELETE FROM w USING gone WHERE w.id = gone.id;
	INSERT INTO w SELECT id, round, clustered(id, round) FROM gone;
	DROP TABLE gone;
END $$;
\set ECHO none
SELECT format('CALL churn_small(%s)', r), 'VACUUM w', format('INSERT INTO small VALUES (%s, pg_relation_size(''mih_w'') / 8192)', r)
FROM generate_series(1, 16) r \gexec
\set ECHO all
SELECT max(w) <= 1.5 * :fresh_w + 25 AS small FROM small;
SELECT mih_check('mih_w', true) = (SELECT count(*) FROM w) AS checked;
-- A scan that began before sees what it saw: it holds the pages of the old segment until it ends.
SET enable_seqscan = off;
BEGIN;
DECLARE old NO SCROLL CURSOR FOR SELECT code <~> clustered(5, 0) AS d FROM o ORDER BY code <~> clustered(5, 0);
FETCH 3 FROM old \g /dev/null
SELECT mih_merge('mih_o') > 0 AS merged;
MOVE ALL FROM old;
COMMIT;
RESET enable_seqscan;
-- It has become one segment, as asked; churn makes pieces of it again.
SELECT segments FROM mih_stats('mih_o');
CALL churn_single(21);
CALL churn_single(22);
CALL churn_single(23);
VACUUM o;
SELECT segments > 3 AS pieces FROM mih_stats('mih_o');
SELECT mih_check('mih_o', true) = (SELECT count(*) FROM o) AS checked;
SELECT same(format('SELECT code <~> %L FROM o ORDER BY code <~> %1$L LIMIT 1000', clustered(18, 0)));

-- Pieces that have grown to where several tables are better become one segment of them.
CREATE TABLE g (id int, code hashcode(64)) WITH (autovacuum_enabled = off);
CREATE INDEX mih_g ON g USING mih (code) WITH (layout = packed);
INSERT INTO g SELECT i, hashcode(hashint8extended(i, 0)) FROM generate_series(1, 40000) i;
SELECT mih_merge('mih_g') >= 0 AS merged;
ALTER INDEX mih_g SET (layout = chunks);
DELETE FROM g WHERE id % 3 = 0;
VACUUM g;
SELECT segments, chunks > 1 AS several_tables FROM mih_stats('mih_g');
SELECT mih_check('mih_g', true) = (SELECT count(*) FROM g) AS checked;

DROP SCHEMA mih_test CASCADE;
