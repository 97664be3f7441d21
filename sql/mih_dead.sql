-- mih_dead: rows that a session has found dead are passed over, until VACUUM gives
-- their places to others.
\set ECHO none
\i test/mih.sql
\set ECHO all

CREATE TABLE d (id int, code hashcode(64)) WITH (autovacuum_enabled = off);
INSERT INTO d SELECT i, near(code(64, 'd'), i % 40, i::text) FROM generate_series(1, 4000) i;
CREATE INDEX mih_d ON d USING mih (code) WITH (layout = packed);
SELECT same(format('SELECT code <~> %L FROM d ORDER BY code <~> %1$L LIMIT 50', code(64, 'd')));
-- The nearest rows go, some of them by updates.
DELETE FROM d WHERE id % 40 < 6;
UPDATE d SET code = code(64, id::text) WHERE id % 40 IN (6, 7);
UPDATE d SET id = id WHERE id % 40 = 8;
SELECT same(format('SELECT code <~> %L FROM d ORDER BY code <~> %1$L LIMIT 50', code(64, 'd'))) FROM generate_series(1, 3);
SELECT same(format('SELECT id FROM d WHERE code <@ hashball(%L, 9)', code(64, 'd')), 'index') FROM generate_series(1, 2);
-- An open cursor keeps what it may see, whatever happens meanwhile.
BEGIN;
SET LOCAL enable_seqscan = off;
DECLARE c CURSOR FOR SELECT code <~> code(64, 'd') AS distance FROM d ORDER BY code <~> code(64, 'd');
FETCH 2 FROM c;
DELETE FROM d WHERE id % 40 = 9;
FETCH 1 FROM c;
MOVE 95 FROM c;
FETCH 4 FROM c;
ROLLBACK;
-- Their places go to rows as near as they were, in several rounds.
CREATE PROCEDURE refill(round int) LANGUAGE sql AS $$
	INSERT INTO d SELECT i, near(code(64, 'd'), i % 6, (i * round)::text) FROM generate_series(1, 600) i;
$$;
CREATE FUNCTION look() RETURNS text LANGUAGE sql AS
	$$SELECT same(format('SELECT code <~> %L FROM d ORDER BY code <~> %1$L LIMIT 100', code(64, 'd'))) || ', '
		|| same(format('SELECT id FROM d WHERE code <@ hashball(%L, 5)', code(64, 'd')), 'index')$$;
VACUUM d;
CALL refill(1);
SELECT look(), look();
DELETE FROM d WHERE code <@ hashball(code(64, 'd'), 3);
SELECT look(), look();
VACUUM d;
CALL refill(2);
SELECT look(), look();
SELECT mih_check('mih_d') = (SELECT count(*) FROM d) AS checked;

DROP SCHEMA mih_test CASCADE;
