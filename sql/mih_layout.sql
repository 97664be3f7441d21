-- mih_layout: what segments are ordered by: chosen from the codes, or as asked;
-- and the same answers from every kind.
\set ECHO none
\i test/mih.sql
-- What the segments of an index are ordered by, from its pages: those of kind 7
-- hold references.
CREATE FUNCTION layout(index regclass) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	file bytea;
BEGIN
	CHECKPOINT;
	file := pg_read_binary_file(pg_relation_filepath(index));
	RETURN CASE WHEN EXISTS (SELECT FROM generate_series(0, length(file) / 8192 - 1) p WHERE get_byte(file, p * 8192 + 8188) = 7)
		THEN 'references' ELSE format('%s tables', (SELECT chunks FROM mih_stats(index))) END;
END $$;
CREATE FUNCTION answers(bits int) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
	RETURN same(format('SELECT code <~> %L FROM l ORDER BY code <~> %1$L LIMIT 10', near(code(bits, '3'), 4, 'q'))) || ', '
		|| same(format('SELECT code <~> %L FROM l ORDER BY code <~> %1$L LIMIT 300', code(bits, 'far'))) || ', '
		|| same(format('SELECT id FROM l WHERE code <@ hashball(%L, 5)', code(bits, '5')), 'index') || ', '
		|| same(format('SELECT id FROM l WHERE code <@ hashball(%L, %s)', code(bits, '6'), bits / 4), 'bitmap') || ', '
		|| same(format('SELECT code <~> %L FROM l WHERE code <@ hashball(%1$L, 7) ORDER BY code <~> %1$L', code(bits, '2'))) || ', '
		|| same(format('SELECT code <~> %L FROM l WHERE code <@ hashball(%L, %s) ORDER BY code <~> %1$L LIMIT 50',
			code(bits, '2'), near(code(bits, '2'), 3, 'b'), bits / 5)) || ', '
		|| same('SELECT id FROM l WHERE code IS NULL', 'index')
		|| CASE WHEN mih_check('mih_l', true) >= (SELECT count(*) FROM l) THEN ', checked' END;
END $$;
\set ECHO all

-- Evenly spread codes, so short that a walk finds the nearest of them, and so long
-- that it does not; and codes about centres, some of them equal.
CREATE TABLE short AS SELECT i AS id, substring(hashcode(hashtextextended(i::text, 1)), 1, 32) AS code FROM generate_series(1, 460000) i;
CREATE TABLE spread AS SELECT i AS id, hashcode(hashtextextended(i::text, 1)) AS code FROM generate_series(1, 300000) i;
CREATE TABLE gathered AS SELECT i AS id, near(code(64, (i % 20)::text), i % 9, (i / 3)::text) AS code FROM generate_series(1, 80000) i;
CREATE INDEX mih_short ON short USING mih (code);
CREATE INDEX mih_spread ON spread USING mih (code);
CREATE INDEX mih_gathered ON gathered USING mih (code);
SELECT layout('mih_short'), layout('mih_spread'), layout('mih_gathered');
SELECT same(format('SELECT code <~> %L FROM short ORDER BY code <~> %1$L LIMIT 20', code(32, q::text))) FROM generate_series(1, 3) q;
SELECT same(format('SELECT id FROM short WHERE code <@ hashball(%L, 4)', code(32, q::text)), 'index') FROM generate_series(1, 3) q;
SELECT same(format('SELECT code <~> %L FROM gathered ORDER BY code <~> %1$L LIMIT 20', near(code(64, q::text), q, 'q'))) FROM generate_series(1, 25, 4) q;
SELECT same(format('SELECT id FROM gathered WHERE code <@ hashball(%L, 4)', near(code(64, q::text), 2, 'q')), 'index') FROM generate_series(1, 25, 4) q;
SELECT same(format('SELECT id FROM spread WHERE code <@ hashball(%L, 14)', code(64, q::text)), 'index') FROM generate_series(1, 3) q;
SELECT mih_check('mih_gathered', true), mih_check('mih_spread');

-- As asked.
DROP INDEX mih_gathered;
CREATE INDEX mih_gathered ON gathered USING mih (code) WITH (layout = chunks);
SELECT layout('mih_gathered');
ALTER INDEX mih_gathered SET (layout = packed);
REINDEX INDEX mih_gathered;
SELECT layout('mih_gathered');
SELECT bytes_per_row < 17 AS small FROM mih_stats('mih_gathered');
ALTER INDEX mih_gathered SET (layout = auto, chunks = 2);
REINDEX INDEX mih_gathered;
SELECT layout('mih_gathered');
ALTER INDEX mih_gathered SET (layout = references, chunks = 0);
REINDEX INDEX mih_gathered;
SELECT layout('mih_gathered');
SELECT bytes_per_row < 17 AS small FROM mih_stats('mih_gathered');
SELECT reloptions FROM pg_class WHERE oid = 'mih_gathered'::regclass;
ALTER INDEX mih_gathered SET (chunks = 3);
ALTER INDEX mih_gathered SET (layout = packed, chunks = 3);
ALTER INDEX mih_gathered SET (layout = sorted);
ALTER INDEX mih_gathered SET (layout = packed, chunks = 1);
DROP TABLE spread, gathered;

-- The life of an index by references, for lengths that fill bytes and slices and
-- such that do not.
CREATE FUNCTION life(bits int, options text) RETURNS SETOF text LANGUAGE plpgsql AS $$
BEGIN
	EXECUTE format('CREATE TABLE l (id int, code hashcode(%s)) WITH (autovacuum_enabled = off)', bits);
	INSERT INTO l SELECT i, CASE WHEN i % 50 > 0 THEN near(code(bits, (i % 9)::text), CASE WHEN i % 3 = 0 THEN 0 ELSE i % 7 END, (i / 2)::text) END
		FROM generate_series(1, 1500) i;
	EXECUTE format('CREATE INDEX mih_l ON l USING mih (code) WITH (%s)', options);
	RETURN NEXT layout('mih_l');
	RETURN NEXT 'built: ' || answers(bits);
	FOR k IN 1 .. 5 LOOP
		INSERT INTO l SELECT i, near(code(bits, (i % 9)::text), i % 5, i::text) FROM generate_series(k * 2000, k * 2000 + 79) i;
		INSERT INTO l SELECT i, code(bits, i::text) FROM generate_series(k * 2000 + 80, k * 2000 + 119) i;
		PERFORM mih_flush('mih_l');
	END LOOP;
	INSERT INTO l SELECT i, code(bits, i::text) FROM generate_series(12000, 12010) i;
	RETURN NEXT 'merged: ' || answers(bits);
	RETURN NEXT (SELECT CASE WHEN segments < 6 THEN 'fewer segments than were written' END FROM mih_stats('mih_l'));
END $$;
SELECT life(64, 'layout = references');
DELETE FROM l WHERE id % 4 = 1;
VACUUM l;
SELECT answers(64);
DELETE FROM l WHERE id % 4 <> 1 AND id < 1500;
VACUUM l;
SELECT layout('mih_l'), answers(64);
-- Equal codes only, then none.
DELETE FROM l;
INSERT INTO l SELECT i, code(64, '5') FROM generate_series(1, 3000) i;
VACUUM l;
SELECT layout('mih_l'), answers(64);
DELETE FROM l;
VACUUM l;
SELECT layout('mih_l'), answers(64);
DROP TABLE l;

SELECT life(13, 'layout = references');
DELETE FROM l WHERE id % 3 = 1;
VACUUM l;
SELECT answers(13);
DROP TABLE l;

SELECT life(200, 'layout = references');
DELETE FROM l WHERE id % 3 = 1;
VACUUM l;
SELECT answers(200);
DROP TABLE l;

-- References of long codes fill several pages.
SELECT life(2100, 'layout = references');
DELETE FROM l WHERE id % 3 = 1;
VACUUM l;
SELECT answers(2100);
DROP TABLE l;

SELECT life(64, 'layout = packed');
DROP SCHEMA mih_test CASCADE;
