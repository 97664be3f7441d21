-- mih_filter: any WHERE above the scan is exact, and the scan goes on just as far
-- as the filter makes it.
\set ECHO none
\i test/mih.sql
\set ECHO all

-- Clustered codes; columns that choose 1, 10 and 50 % of the rows, two that follow
-- the code (its near rows, and only its far rows, pass), and NULLs.
CREATE TABLE f (id int PRIMARY KEY, one boolean, ten boolean, half boolean, words text, code hashcode(64));
CREATE FUNCTION few_bits(seed text) RETURNS bigint LANGUAGE sql IMMUTABLE AS $$
	SELECT hashtextextended(seed, 1) & hashtextextended(seed, 2) & hashtextextended(seed, 3)
$$;
INSERT INTO f SELECT g, hashint4(g) % 100 = 0, hashint4(g) % 10 = 0, hashint4(g) % 2 = 0, 'w' || g % 7,
	CASE WHEN g % 1000 > 0 THEN hashcode(hashtextextended((g % 60)::text, 0) # few_bits(g::text)) END FROM generate_series(1, 50000) g;
CREATE INDEX mih_f ON f USING mih (code);
SET default_statistics_target = 400; -- of all rows, so that nothing is left to chance
ANALYZE f;
RESET default_statistics_target;
SELECT round(100 * avg(one::int), 1) BETWEEN 0.9 AND 1.1 AS one, round(100 * avg(ten::int)) = 10 AS ten, round(100 * avg(half::int)) = 50 AS half FROM f;

-- The distances of the first k rows that pass, as a sequential scan and a sort find them.
SELECT filter, k, same(format('SELECT code <~> %1$L::hashcode FROM f WHERE %2$s ORDER BY code <~> %1$L LIMIT %3$s', q, filter, k)) AS near_query,
	same(format('SELECT code <~> %1$L::hashcode FROM f WHERE %2$s ORDER BY code <~> %1$L LIMIT %3$s', ~ q, filter, k)) AS far_query
FROM (SELECT code FROM f WHERE id = 17) x(q), unnest(ARRAY['one', 'ten', 'half', 'one AND NOT half', 'words LIKE ''%3'' AND ten', 'id < 500',
	'code IS NOT NULL AND half', 'id IN (SELECT g * g FROM generate_series(1, 200) g)', 'words = ''none''', 'length(code) = 64 AND ten',
	format('NOT hamming_within(code, %L, 30) AND ten', code(64, 'far')), format('code <@ hashball(%L, 33) AND half', code(64, 'far'))]) filter, unnest(ARRAY[1, 10, 300]) k;
-- Without a limit: every row that passes.
SELECT same('SELECT code <~> ''0123456789abcdef'' FROM f WHERE one ORDER BY code <~> ''0123456789abcdef''');

-- How far the scan went is the rank of the last row wanted: it streams.
CREATE FUNCTION rows_read(filter text, k int) RETURNS TABLE (index_was_used boolean, read_is_rank boolean) LANGUAGE plpgsql AS $$
DECLARE
	plan json;
	rank bigint;
BEGIN
	SET LOCAL enable_seqscan = off;
	SET LOCAL enable_sort = off;
	EXECUTE format('EXPLAIN (ANALYZE, FORMAT json) SELECT id FROM f WHERE %s ORDER BY code <~> ''0123456789abcdef'' LIMIT %s', filter, k) INTO plan;
	plan := plan -> 0 -> 'Plan' -> 'Plans' -> 0;
	SET LOCAL enable_indexscan = off;
	SET LOCAL enable_sort = on;
	EXECUTE format('SELECT n FROM (SELECT *, row_number() OVER (ORDER BY code <~> ''0123456789abcdef'', ctid) n FROM f) s WHERE %s ORDER BY n OFFSET %s LIMIT 1', filter, k - 1) INTO rank;
	index_was_used := plan ->> 'Index Name' = 'mih_f';
	read_is_rank := (plan ->> 'Rows Removed by Filter')::bigint + k = rank;
	RETURN NEXT;
	RESET enable_seqscan;
	RESET enable_indexscan;
END $$;
SELECT filter, k, r.* FROM unnest(ARRAY['one', 'ten', 'half']) filter, unnest(ARRAY[1, 10, 200]) k, rows_read(filter, k) r;

-- A cursor takes the rows piece by piece, while the table changes.
BEGIN;
SET LOCAL enable_seqscan = off;
SET LOCAL enable_sort = off;
DECLARE c NO SCROLL CURSOR FOR SELECT id, code <~> '0123456789abcdef' AS d FROM f WHERE ten AND code IS NOT NULL ORDER BY code <~> '0123456789abcdef';
CREATE TEMP TABLE got (n serial, id int, d int);
CREATE FUNCTION take(howmany int) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
	c refcursor := 'c';
	r record;
BEGIN
	FOR i IN 1 .. howmany LOOP
		FETCH c INTO r;
		EXIT WHEN NOT FOUND;
		INSERT INTO got (id, d) VALUES (r.id, r.d);
	END LOOP;
END $$;
CREATE TEMP TABLE want AS SELECT id, code <~> '0123456789abcdef' AS d FROM f WHERE ten AND code IS NOT NULL;
SELECT take(3);
DELETE FROM f WHERE half;
SELECT take(500);
INSERT INTO f SELECT -g, true, true, true, 'x', '0123456789abcdef' FROM generate_series(1, 3000) g;
SELECT take(100000);
SELECT (SELECT array_agg(d ORDER BY n) FROM got) = (SELECT array_agg(d ORDER BY d) FROM want) AS same_distances,
	NOT EXISTS (SELECT id, d FROM got EXCEPT SELECT id, d FROM want) AS same_rows, (SELECT count(*) FROM got) = (SELECT count(DISTINCT id) FROM got) AS each_once;
ROLLBACK;

-- FETCH FIRST WITH TIES, OFFSET, DISTINCT, window and aggregate above the scan.
SELECT same('SELECT code <~> ''0123456789abcdef'' FROM f WHERE ten ORDER BY code <~> ''0123456789abcdef'' FETCH FIRST 25 ROWS WITH TIES');
SELECT same('SELECT code <~> ''0123456789abcdef'' FROM f WHERE ten ORDER BY code <~> ''0123456789abcdef'' OFFSET 40 LIMIT 20');
SELECT same('SELECT sum(d)::int FROM (SELECT code <~> ''0123456789abcdef'' AS d FROM f WHERE half ORDER BY code <~> ''0123456789abcdef'' LIMIT 70) s');
SELECT same('SELECT DISTINCT d FROM (SELECT code <~> ''0123456789abcdef'' AS d FROM f WHERE half ORDER BY code <~> ''0123456789abcdef'' LIMIT 500) s', 'index');
DROP SCHEMA mih_test CASCADE;
