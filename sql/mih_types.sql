-- mih_types: indexes on bit(n), varbit and bigint give what a sequential scan gives.
\set ECHO none
\i test/mih.sql
\set ECHO all

-- One code in four forms, some NULL.
CREATE TABLE t (id int, h hashcode(64), b bit(64), v varbit, i bigint);
CREATE FUNCTION fill(first int, last int) RETURNS void LANGUAGE sql AS $$
	INSERT INTO t SELECT g, c, c::bit(64), c::varbit, c::bigint FROM (
		SELECT g, CASE WHEN g % 50 > 0 THEN near(code(64, (g % 40)::text), g % 9, g::text) END c FROM generate_series(first, last) g) s
$$;
SELECT fill(1, 3000);
CREATE INDEX mih_b ON t USING mih (b) WITH (chunks = 3);
CREATE INDEX mih_v ON t USING mih (v);
CREATE INDEX mih_i ON t USING mih (i) WITH (chunks = 4);
SELECT fill(3001, 3400);
ANALYZE t;
SELECT c.relname, opcname, s.bits, s.rows, s.nulls, pg_index_column_has_property(c.oid, 1, 'distance_orderable') AS orderable
FROM pg_class c JOIN pg_index x ON x.indexrelid = c.oid JOIN pg_opclass o ON o.oid = x.indclass[0], mih_stats(c.oid) s
WHERE c.relname LIKE 'mih\__' ORDER BY 1;

-- The four distances are one.
SELECT count(*), bool_and(a.h <~> z.h = a.b <~> z.b AND a.h <~> z.h = a.v <~> z.v AND a.h <~> z.h = a.i <~> z.i) AS same_distance,
	bool_and(hamming_within(a.h, z.h, 20) = hamming_within(a.b, z.b, 20)) AND bool_and(hamming_within(a.h, z.h, 20) = hamming_within(a.i, z.i, 20))
		AND bool_and((a.v <@ hashball(z.h, 20)) = (hashball(z.h, 20) @> a.i)) AS same_ball
FROM t a, t z WHERE a.id < 120 AND z.id % 31 = 0 AND a.h IS NOT NULL AND z.h IS NOT NULL;

CREATE FUNCTION all_ways() RETURNS TABLE (col text, knn text, knn_limit text, ball text, within text, both_ways text, bitmap text, nulls text, checked boolean)
LANGUAGE plpgsql AS $$
DECLARE
	q text := quote_literal(code(64, '7')::bit(64)::text) || '::bit(64)';
BEGIN
	FOREACH col IN ARRAY ARRAY['b', 'v', 'i'] LOOP
		IF col = 'i' THEN
			q := code(64, '7')::bigint;
		END IF;
		knn := same(format('SELECT %I <~> %s FROM t ORDER BY %1$I <~> %2$s', col, q));
		knn_limit := same(format('SELECT %I <~> %s FROM t WHERE id %% 3 = 0 ORDER BY %1$I <~> %2$s LIMIT 40', col, q));
		ball := same(format('SELECT id FROM t WHERE %I <@ hashball(%s, 6)', col, CASE col WHEN 'i' THEN q || '::bigint::hashcode' ELSE q || '::hashcode' END), 'index');
		within := same(format('SELECT id FROM t WHERE hamming_within(%I, %s, 9)', col, q), 'index');
		both_ways := same(format('SELECT %I <~> %s FROM t WHERE hamming_within(%2$s, %1$I, 8) ORDER BY %1$I <~> %2$s LIMIT 30', col, q));
		bitmap := same(format('SELECT id FROM t WHERE hamming_within(%I, %s, 12)', col, q), 'bitmap');
		nulls := same(format('SELECT id FROM t WHERE %I IS NULL', col), 'index');
		checked := mih_check('mih_' || col, true) >= (SELECT count(*) FROM t);
		RETURN NEXT;
	END LOOP;
END $$;
SELECT * FROM all_ways();
-- Changed in every way.
UPDATE t SET b = ~ b, v = ~ v, i = ~ i WHERE id % 7 = 0;
UPDATE t SET b = NULL, v = NULL, i = NULL WHERE id % 11 = 0;
DELETE FROM t WHERE id % 5 = 0;
SELECT * FROM all_ways();
VACUUM t;
SELECT fill(5001, 5200);
SELECT * FROM all_ways();
REINDEX TABLE t;
SELECT * FROM all_ways();

-- The column's form decides; a parameter takes the column's type.
SET enable_seqscan = off;
SET plan_cache_mode = force_generic_plan;
EXPLAIN (COSTS off) SELECT id FROM t ORDER BY b <~> x'0123456789abcdef' LIMIT 1;
EXPLAIN (COSTS off) SELECT id FROM t ORDER BY i <~> 5 LIMIT 1;
PREPARE near_b AS SELECT id FROM t WHERE hamming_within(b, $1, $2) ORDER BY b <~> $1 LIMIT 3;
EXPLAIN (COSTS off) EXECUTE near_b(x'0123456789abcdef', 3);
PREPARE near_i AS SELECT count(*) FROM t WHERE hamming_within($1, i, $2);
EXPLAIN (COSTS off) EXECUTE near_i(5, 3);
EXECUTE near_i(5, 30);
EXECUTE near_i(NULL, 30);
EXECUTE near_i(5, -1);
EXECUTE near_b(x'0123', 3);
-- A join, each outer row a query.
SELECT same('SELECT z.b <~> k.b FROM (SELECT b FROM t WHERE id < 30 ORDER BY id OFFSET 0) z, LATERAL (SELECT b FROM t ORDER BY t.b <~> z.b LIMIT 4) k', 'index');
SELECT same('SELECT a.id * 10000 + z.id FROM t a JOIN t z ON hamming_within(z.i, a.i, 3) WHERE a.id < 40', 'index');
RESET plan_cache_mode;
DEALLOCATE ALL;
-- Codes of another length, none, and too long.
SELECT id FROM t ORDER BY b <~> x'01' LIMIT 1;
SELECT id FROM t WHERE b <@ hashball('00', 1);
INSERT INTO t (id, v) VALUES (0, b'101');
INSERT INTO t (id, v) VALUES (0, b'');
INSERT INTO t (id, v) VALUES (0, repeat('1', 5000)::varbit);
RESET enable_seqscan;
SELECT x'01'::varbit <~> x'0102';
SELECT x'01' <@ hashball('0102', 1), x'01';
SELECT 1::bigint <@ hashball('0102', 1);
SELECT hamming_within(x'01'::varbit, x'01', -1);
SELECT 1 <~> 2, -1 <~> 0, (-1)::bigint <~> 0, hamming_within(-1, 0, 31), hamming_within(-1, 0, 32), '' ::varbit <~> ''::varbit;
SELECT hamming_within('a3', 'a3', 1);

-- A domain has the length of its type; an expression and a partial index.
CREATE DOMAIN phash AS bit(24);
CREATE TABLE d (id int, p phash, c bytea);
INSERT INTO d SELECT g, code(24, g::text)::bit(24), decode(md5(g::text), 'hex') FROM generate_series(1, 400) g;
CREATE INDEX mih_d ON d USING mih (p);
CREATE INDEX mih_e ON d USING mih ((c::hashcode)) WHERE id > 100;
INSERT INTO d SELECT g, code(24, g::text)::bit(24), decode(md5(g::text), 'hex') FROM generate_series(401, 500) g;
SELECT bits FROM mih_stats('mih_d');
SELECT same('SELECT p <~> x''00ff00'' FROM d ORDER BY p <~> x''00ff00''');
SELECT same('SELECT id FROM d WHERE c::hashcode <@ hashball(hashcode(decode(md5(''7''), ''hex'')), 60) AND id > 100', 'index');
SELECT mih_check('mih_d'), mih_check('mih_e');
TRUNCATE d;
INSERT INTO d SELECT g, code(24, (g % 9)::text)::bit(24) FROM generate_series(1, 50) g;
SELECT same('SELECT p <~> x''00ff00'' FROM d ORDER BY p <~> x''00ff00'' LIMIT 20');

-- Estimates read the statistics of these types.
CREATE FUNCTION close_estimate(query text) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
	plan json;
	estimate float8;
	truth float8;
BEGIN
	EXECUTE 'EXPLAIN (FORMAT json) ' || query INTO plan;
	estimate := (plan -> 0 -> 'Plan' ->> 'Plan Rows')::float8;
	EXECUTE 'SELECT count(*) FROM (' || query || ') s' INTO truth;
	RETURN estimate BETWEEN truth / 3 - 3 AND truth * 3 + 3;
END $$;
ANALYZE t;
SELECT r, close_estimate(format('SELECT FROM t WHERE hamming_within(b, x''0123456789abcdef'', %s)', r)) AS bit,
	close_estimate(format('SELECT FROM t WHERE hamming_within(v, x''0123456789abcdef''::bit(64), %s)', r)) AS varbit,
	close_estimate(format('SELECT FROM t WHERE hamming_within(i, 81985529216486895, %s)', r)) AS bigint,
	close_estimate(format('SELECT FROM t WHERE i <@ ''<0123456789abcdef,%s>''', r)) AS ball
FROM unnest(ARRAY[0, 20, 28, 32, 36, 64]) r;

SELECT close_estimate(format('SELECT FROM t WHERE hamming_within(id, 12345, %s)', r)) AS integer FROM unnest(ARRAY[0, 5, 14, 32]) r;

-- Beside an extension whose <~> between bit values is another: the cast and the
-- qualified name find ours, and the index serves both.
CREATE SCHEMA mih_other;
CREATE FUNCTION mih_other.distance(bit, bit) RETURNS float8 LANGUAGE sql IMMUTABLE STRICT AS $$ SELECT 0.5 $$;
CREATE OPERATOR mih_other.<~> (FUNCTION = mih_other.distance, LEFTARG = bit, RIGHTARG = bit);
SET search_path = mih_other, mih_test, public;
SET enable_seqscan = off;
EXPLAIN (COSTS off) SELECT b <~> x'0123456789abcdef' FROM t ORDER BY 1 LIMIT 1;
EXPLAIN (COSTS off) SELECT b::varbit <~> x'0123456789abcdef' FROM t ORDER BY 1 LIMIT 1;
EXPLAIN (COSTS off) SELECT b OPERATOR(public.<~>) x'0123456789abcdef' FROM t ORDER BY 1 LIMIT 1;
RESET enable_seqscan;
SET search_path = mih_test, public;
DROP SCHEMA mih_other CASCADE;

-- An operator class that is not one is told of.
CREATE OPERATOR CLASS loose FOR TYPE bytea USING mih AS FUNCTION 1 hashcode(bytea);
CREATE OPERATOR CLASS worse FOR TYPE int4 USING mih AS OPERATOR 2 <~> (int4, int4) FOR ORDER BY integer_ops, FUNCTION 1 int4abs(int4);
CREATE OPERATOR CLASS other FOR TYPE hashball USING mih AS OPERATOR 1 <@> (hashball, hashball), FUNCTION 1 centre(hashball);
CREATE TABLE wrong (n int4, v bytea);
CREATE INDEX ON wrong USING mih (n worse);
CREATE INDEX ON wrong USING mih (v loose);
SELECT opcname, amvalidate(oid) FROM pg_opclass WHERE opcname IN ('loose', 'worse', 'other') ORDER BY 1;
SELECT opcname, amvalidate(o.oid) FROM pg_opclass o JOIN pg_am a ON a.oid = opcmethod AND amname = 'mih' WHERE opcname LIKE '%mih_ops' ORDER BY 1;
DROP OPERATOR FAMILY loose USING mih;
DROP OPERATOR FAMILY worse USING mih;
DROP OPERATOR FAMILY other USING mih;
DROP SCHEMA mih_test CASCADE;
