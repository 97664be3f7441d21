-- mih_knn: k nearest neighbours through the index, distance for distance.
\set ECHO none
\i test/mih.sql
\set ECHO all

-- Every length, from one bit up: half of the rows uniform, half near others.
-- Two layouts: what the index chooses, and many chunks.
CREATE FUNCTION knn_of_length(bits int, chunks int) RETURNS SETOF text LANGUAGE plpgsql AS $$
BEGIN
	DROP TABLE IF EXISTS l;
	EXECUTE format('CREATE TABLE l (id int, code hashcode(%s))', bits);
	INSERT INTO l SELECT i, CASE WHEN i % 2 = 0 THEN code(bits, i::text) ELSE near(code(bits, (i % 7)::text), 1 + i % 5, i::text) END
		FROM generate_series(1, 300) i;
	EXECUTE format('CREATE INDEX mih_l ON l USING mih (code) WITH (chunks = %s)', chunks);
	INSERT INTO l SELECT i, code(bits, i::text) FROM generate_series(301, 330) i;
	PERFORM mih_check('mih_l');
	FOR i IN 1 .. 3 LOOP
		RETURN NEXT same(format('SELECT code <~> %L FROM l ORDER BY code <~> %1$L LIMIT 40', code(bits, i::text)));
		RETURN NEXT same(format('SELECT code <~> %L FROM l ORDER BY code <~> %1$L', code(bits, 'far' || i)));
	END LOOP;
END $$;
SELECT bits, chunks, string_agg(DISTINCT k, ', ') FROM unnest(ARRAY[1, 2, 7, 8, 9, 16, 31, 32, 33, 48, 64, 65, 100, 128, 200, 256, 512, 513, 1000, 2048, 2049, 4095, 4096]) bits,
	unnest(ARRAY[0, 1, 3, 16]) chunks, knn_of_length(bits, chunks) k
GROUP BY bits, chunks HAVING string_agg(DISTINCT k, ', ') <> 'same 330, same 40' ORDER BY bits, chunks;
DROP TABLE l;

-- A table that is large enough for the index to choose chunks by itself.
CREATE TABLE big (id int, grp int, code hashcode(48));
INSERT INTO big SELECT i, i % 100, CASE WHEN i % 3 = 0 THEN code(48, i::text) ELSE code(48, (i % 5000)::text) # (1::bigint << (16 + i % 48))::hashcode::bit(64)::bit(48)::hashcode END
	FROM generate_series(1, 90000) i;
CREATE INDEX mih_big ON big USING mih (code) WITH (chunks = 3);
SELECT bits, segments, chunks, rows, pending, nulls FROM mih_stats('mih_big');
SELECT same(format('SELECT code <~> %L FROM big ORDER BY code <~> %1$L LIMIT %s', code(48, q), k))
FROM unnest(ARRAY['3', '4', '17', 'elsewhere']) q, unnest(ARRAY[1, 10, 1000]) k;
SELECT same(format('SELECT code <~> %L FROM big WHERE grp = 7 ORDER BY code <~> %1$L LIMIT 20', code(48, q)))
FROM unnest(ARRAY['3', 'elsewhere']) q;
SELECT same(format('SELECT code <~> %L FROM big ORDER BY code <~> %1$L', code(48, '77')));
-- Little memory: many refills.
SET work_mem = '64kB';
SELECT same(format('SELECT code <~> %L FROM big ORDER BY code <~> %1$L LIMIT 20000', code(48, '78')));
RESET work_mem;
-- Every row comes once.
BEGIN;
SET LOCAL enable_seqscan = off;
SET LOCAL enable_sort = off;
SELECT count(*), count(DISTINCT id) FROM (SELECT id FROM big ORDER BY code <~> code(48, '5') OFFSET 0) s;
ROLLBACK;
DROP TABLE big;

-- Ties come in the order of the rows in the table, so that answers repeat.
CREATE TABLE tied (id int, code hashcode(16));
INSERT INTO tied SELECT i, CASE WHEN i % 2 = 0 THEN 'ff00' ELSE '00ff' END::hashcode FROM generate_series(1, 3000) i;
CREATE INDEX mih_tied ON tied USING mih (code) WITH (chunks = 2);
SET enable_seqscan = off;
SELECT id, code <~> 'ff01' AS d FROM tied ORDER BY code <~> 'ff01' LIMIT 4;
SELECT id, code <~> 'ff01' AS d FROM tied ORDER BY code <~> 'ff01' OFFSET 1498 LIMIT 4;
RESET enable_seqscan;
SELECT same('SELECT code <~> ''ff01'' FROM tied ORDER BY code <~> ''ff01''');

-- All equal.
UPDATE tied SET code = 'abcd';
SELECT same('SELECT code <~> ''ff01'' FROM tied ORDER BY code <~> ''ff01''');
SELECT same('SELECT code <~> ''abcd'' FROM tied ORDER BY code <~> ''abcd'' LIMIT 2000');

-- An empty table, and one of NULLs alone, answer too; NULLs come last.
CREATE TABLE none (id int, code hashcode(64));
CREATE INDEX mih_none ON none USING mih (code);
SELECT same(format('SELECT id FROM none ORDER BY code <~> %L', code(64, '')));
INSERT INTO none SELECT i FROM generate_series(1, 3000) i;
SELECT same(format('SELECT code <~> %L FROM none ORDER BY code <~> %1$L', code(64, '')));
INSERT INTO none SELECT -i, code(64, i::text) FROM generate_series(1, 100) i;
SELECT same(format('SELECT code <~> %L FROM none ORDER BY code <~> %1$L', code(64, '')));
REINDEX INDEX mih_none;
SELECT same(format('SELECT code <~> %L FROM none ORDER BY code <~> %1$L', code(64, '')));
SELECT bits, rows, pending, nulls FROM mih_stats('mih_none');

-- IS NULL and IS NOT NULL are index conditions; a NULL query leaves the order open.
SELECT same('SELECT id FROM none WHERE code IS NULL', 'index');
SELECT same('SELECT id FROM none WHERE code IS NOT NULL', 'index');
SELECT same('SELECT id FROM none WHERE code IS NULL', 'bitmap');
SELECT same(format('SELECT code <~> %L FROM none WHERE code IS NOT NULL ORDER BY code <~> %1$L', code(64, '9')));
SELECT same(format('SELECT code <~> %L FROM none WHERE code IS NULL ORDER BY code <~> %1$L', code(64, '9')));
SELECT same('SELECT id FROM none WHERE code IS NULL AND code IS NOT NULL', 'index');
SELECT same('SELECT id FROM none WHERE code IS NOT NULL ORDER BY code <~> (SELECT NULL::hashcode), id', 'index');
SELECT same('SELECT count(*)::int FROM (SELECT FROM none ORDER BY code <~> (SELECT NULL::hashcode)) s');

-- Two distances: the second decides where the first ties.
CREATE TABLE two AS SELECT i AS id, CASE WHEN i % 50 > 0 THEN code(12, i::text) END::hashcode(12) AS code FROM generate_series(1, 2000) i;
CREATE INDEX mih_two ON two USING mih (code);
SELECT same(format('SELECT (code <~> %L) * 100 + (code <~> %L) FROM two ORDER BY code <~> %1$L, code <~> %2$L', code(12, 'a'), code(12, 'b')));
SELECT same(format('SELECT (code <~> %L) * 100 + (code <~> %L) FROM two ORDER BY code <~> %1$L, code <~> %2$L LIMIT 30', code(12, 'a'), code(12, 'b')));
SELECT same(format('SELECT code <~> %L FROM two ORDER BY code <~> NULL, code <~> %1$L', code(12, 'b')));
SELECT same(format('SELECT code <~> %L FROM two ORDER BY code <~> %1$L, code <~> NULL', code(12, 'b')));
SELECT same(format('SELECT (code <~> %L) * 100 + (code <~> %L) FROM two WHERE code <@ hashball(%1$L, 4) ORDER BY code <~> %1$L, code <~> %2$L', code(12, 'a'), code(12, 'b')));
-- The other way round, and farthest first, which the index cannot.
SELECT same(format('SELECT code <~> %L FROM two ORDER BY %1$L <~> code LIMIT 10', code(12, 'a')));
EXPLAIN (COSTS off) SELECT id FROM two ORDER BY code <~> 'b''000000000000''' DESC LIMIT 3;
EXPLAIN (COSTS off) SELECT id FROM two ORDER BY code <~> 'b''000000000000''' NULLS FIRST LIMIT 3;
DROP SCHEMA mih_test CASCADE;
