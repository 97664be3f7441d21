-- mih.sql: what the regression tests of the index begin with.  Run from the
-- project's top: \i test/mih.sql
SET client_min_messages = warning;
DROP SCHEMA IF EXISTS mih_test CASCADE;
CREATE SCHEMA mih_test;
SET search_path = mih_test, public;
SET max_parallel_workers_per_gather = 0;
SET jit = off;

-- A code of n bits, drawn from a seed.
CREATE FUNCTION code(n int, seed text) RETURNS hashcode LANGUAGE sql IMMUTABLE AS $$
	SELECT substring(hashcode(decode(string_agg(md5(seed || '.' || i), '' ORDER BY i), 'hex')), 1, n)
	FROM generate_series(0, (n - 1) / 128) i
$$;

-- The code with some bits turned, drawn from a seed too.
CREATE FUNCTION near(center hashcode, turned int, seed text) RETURNS hashcode LANGUAGE plpgsql IMMUTABLE AS $$
DECLARE
	bit int;
BEGIN
	FOR i IN 1 .. turned LOOP
		bit := abs(hashtext(seed || '/' || i) % length(center));
		center := set_bit(center, bit, 1 - get_bit(center, bit));
	END LOOP;
	RETURN center;
END $$;

-- Whether a query of one integer column says the same through a mih index as
-- without.  way: ordered (by the index, row for row), index or bitmap (as sets).
CREATE FUNCTION same(query text, way text DEFAULT 'ordered') RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	line text;
	used boolean := false;
	got int[];
	want int[];
	gather text := format('SELECT array_agg(v%s) FROM (%s) s(v)', CASE way WHEN 'ordered' THEN '' ELSE ' ORDER BY v' END, query);
BEGIN
	PERFORM set_config('enable_seqscan', 'off', true), set_config('enable_sort', CASE way WHEN 'ordered' THEN 'off' ELSE 'on' END, true),
		set_config('enable_indexscan', CASE way WHEN 'bitmap' THEN 'off' ELSE 'on' END, true),
		set_config('enable_bitmapscan', CASE way WHEN 'bitmap' THEN 'on' ELSE 'off' END, true);
	FOR line IN EXECUTE 'EXPLAIN (COSTS off) ' || query LOOP
		used := used OR line ~ 'Scan (using|on) mih_';
	END LOOP;
	EXECUTE gather INTO got;
	PERFORM set_config('enable_seqscan', 'on', true), set_config('enable_sort', 'on', true),
		set_config('enable_indexscan', 'off', true), set_config('enable_bitmapscan', 'off', true);
	EXECUTE gather INTO want;
	PERFORM set_config('enable_indexscan', 'on', true), set_config('enable_bitmapscan', 'on', true);
	RETURN CASE WHEN NOT used THEN 'NO INDEX USED: ' || query
		WHEN got IS DISTINCT FROM want THEN format('DIFFERENT: %s gives %s, right is %s', query, left(got::text, 300), left(want::text, 300))
		ELSE format('same %s', coalesce(cardinality(got), 0)) END;
END $$;
