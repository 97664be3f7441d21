-- mih_long: codes of more than 64 bits, which segments store in slices: k-NN,
-- radius, several balls, runs of equal codes, deletion, merge and check, for
-- lengths that fill slices and such that do not, in one table and in several.
\set ECHO none
\i test/mih.sql
CREATE FUNCTION answers(bits int) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
	RETURN same(format('SELECT code <~> %L FROM c ORDER BY code <~> %1$L', code(bits, '5'))) || ', '
		|| same(format('SELECT code <~> %L FROM c ORDER BY code <~> %1$L LIMIT 20', near(code(bits, '7'), 3, 'q'))) || ', '
		|| same(format('SELECT id FROM c WHERE code <@ hashball(%L, 6)', code(bits, '5')), 'index') || ', '
		|| same(format('SELECT id FROM c WHERE code <@ hashball(%L, 6)', code(bits, '5')), 'bitmap') || ', '
		|| same(format('SELECT id FROM c WHERE code <@ hashball(%L, %s) AND code <@ hashball(%L, 5)',
			code(bits, '5'), bits / 3, near(code(bits, '5'), 2, 'b')), 'index')
		|| CASE WHEN mih_check('mih_c', true) >= (SELECT count(*) FROM c) THEN ', checked' END;
END $$;
-- Puts a table of codes of so many bits through its life.
CREATE FUNCTION life(bits int, chunks int) RETURNS SETOF text LANGUAGE plpgsql AS $$
BEGIN
	EXECUTE format('CREATE TABLE c (id int, code hashcode(%s)) WITH (autovacuum_enabled = off)', bits);
	-- Centres are random, a third of the rows are equal to another's.
	INSERT INTO c SELECT i, near(code(bits, (i % 9)::text), CASE WHEN i % 3 = 0 THEN 0 ELSE i % 17 END, (i / 2)::text)
		FROM generate_series(1, 600) i;
	EXECUTE format('CREATE INDEX mih_c ON c USING mih (code) WITH (chunks = %s)', chunks);
	RETURN NEXT 'built: ' || answers(bits);
	FOR k IN 1 .. 5 LOOP
		INSERT INTO c SELECT i, near(code(bits, (i % 9)::text), i % 5, i::text) FROM generate_series(k * 1000, k * 1000 + 79) i;
		INSERT INTO c SELECT i, CASE WHEN i % 4 > 0 THEN code(bits, '5') END FROM generate_series(k * 1000 + 80, k * 1000 + 119) i;
		PERFORM mih_flush('mih_c');
	END LOOP;
	INSERT INTO c SELECT i, code(bits, i::text) FROM generate_series(6000, 6010) i;
	RETURN NEXT 'merged: ' || answers(bits);
	RETURN NEXT (SELECT CASE WHEN segments < 6 THEN 'fewer segments than were written' END FROM mih_stats('mih_c'));
END $$;
\set ECHO all

SELECT life(65, 0);
DELETE FROM c WHERE id % 4 = 1;
VACUUM c;
SELECT answers(65);
DROP TABLE c;

SELECT life(72, 3);
DELETE FROM c WHERE id % 4 = 1;
VACUUM c;
SELECT answers(72);
DROP TABLE c;

SELECT life(128, 0);
DELETE FROM c WHERE id % 4 = 1;
VACUUM c;
SELECT answers(128);
DROP TABLE c;

SELECT life(200, 4);
DELETE FROM c WHERE id % 4 = 1;
VACUUM c;
SELECT answers(200);
UPDATE c SET code = ~code WHERE id % 7 = 1;
VACUUM c;
SELECT answers(200);
DROP TABLE c;

SELECT life(256, 0);
DELETE FROM c WHERE id % 4 = 1;
VACUUM c;
SELECT answers(256);
DROP TABLE c;

SELECT life(1000, 2);
DELETE FROM c WHERE id % 4 = 1;
VACUUM c;
SELECT answers(1000);
DROP TABLE c;

SELECT life(4096, 0);
DELETE FROM c WHERE id % 4 = 1;
VACUUM c;
SELECT answers(4096);
DROP TABLE c;

-- Slices take no room: 15 codes of 4096 bits and their TIDs still fit a page.
CREATE TABLE c AS SELECT code(4096, i::text) code FROM generate_series(1, 150) i;
CREATE INDEX mih_c ON c USING mih (code);
SELECT pages <= 10 + 4 AS packed FROM mih_stats('mih_c');
DROP TABLE c;
