-- property.sql: what property.pl asks the server.  Every function runs a query
-- through the index and a plain sequential one, and answers 'ok' or says what
-- differs.  The truth never uses a ball: it is the distance operator, a
-- comparison, and a sort.  A NULL distance is written as 2147483647.
CREATE SCHEMA property;

CREATE FUNCTION property.sequential() RETURNS void LANGUAGE sql AS $$
	SELECT set_config('enable_seqscan', 'on', true), set_config('enable_sort', 'on', true),
		set_config('enable_indexscan', 'off', true), set_config('enable_indexonlyscan', 'off', true),
		set_config('enable_bitmapscan', 'off', true);
$$;

-- way: ordered, index or bitmap; '' leaves the choice to the planner.
CREATE FUNCTION property.through_index(way text) RETURNS void LANGUAGE sql AS $$
	SELECT set_config('enable_seqscan', CASE way WHEN '' THEN 'on' ELSE 'off' END, true),
		set_config('enable_sort', CASE way WHEN 'ordered' THEN 'off' ELSE 'on' END, true),
		set_config('enable_indexscan', CASE way WHEN 'bitmap' THEN 'off' ELSE 'on' END, true),
		set_config('enable_indexonlyscan', 'on', true),
		set_config('enable_bitmapscan', CASE WHEN way IN ('bitmap', '') THEN 'on' ELSE 'off' END, true);
$$;

-- Whether the plan of a query uses an index whose name begins with mih_.
CREATE FUNCTION property.uses_index(query text) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
	line text;
BEGIN
	FOR line IN EXECUTE 'EXPLAIN (COSTS off) ' || query LOOP
		IF line ~ 'Index (Only )?Scan (using|on) mih_' THEN
			RETURN true;
		END IF;
	END LOOP;
	RETURN false;
END $$;

-- All rows of tab that satisfy cond, nearest first: ids and distances.
CREATE FUNCTION property.truth(tab text, q text, cond text, OUT ids int[], OUT ds int[])
LANGUAGE plpgsql AS $$
BEGIN
	PERFORM property.sequential();
	EXECUTE format('SELECT coalesce(array_agg(id ORDER BY d, id), ''{}''), coalesce(array_agg(d ORDER BY d, id), ''{}'')
		FROM (SELECT id, coalesce(code <~> %s, 2147483647) AS d FROM %s WHERE %s) s', q, tab, cond)
	INTO ids, ds;
END $$;

-- Whether got is a right answer of distances want, drawn from the true rows.
CREATE FUNCTION property.verdict(what text, got_ids int[], got_ds int[], want_ds int[], ids int[], ds int[])
RETURNS text LANGUAGE plpgsql
SET enable_sort = on SET enable_nestloop = off SET work_mem = '64MB' AS $$
DECLARE
	at int;
	strange int;
BEGIN
	IF got_ds IS DISTINCT FROM want_ds THEN
		SELECT min(n) INTO at FROM unnest(got_ds, want_ds) WITH ORDINALITY u(g, w, n) WHERE g IS DISTINCT FROM w;
		RETURN format('DIFFERS: %s: %s rows, right are %s; first difference at row %s: distance %s, right is %s',
			what, cardinality(got_ds), cardinality(want_ds), at, got_ds[at], want_ds[at]);
	END IF;
	IF (SELECT count(DISTINCT id) FROM unnest(got_ids) id) <> cardinality(got_ids) THEN
		RETURN format('DIFFERS: %s: a row came twice', what);
	END IF;
	SELECT id INTO strange FROM
		(SELECT id, d FROM unnest(got_ids, got_ds) g(id, d) EXCEPT SELECT id, d FROM unnest(ids, ds) t(id, d)) s LIMIT 1;
	IF strange IS NOT NULL THEN
		RETURN format('DIFFERS: %s: row %s has no business there', what, strange);
	END IF;
	RETURN 'ok';
END $$;

-- k nearest neighbours.  cut: '', LIMIT 5, LIMIT 5 OFFSET 2, FETCH FIRST 3 ROWS WITH TIES
CREATE FUNCTION property.knn(tab text, q text, cond text, lim int, off int, ties boolean, must boolean)
RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	t record;
	query text;
	got_ids int[];
	got_ds int[];
	upto int;
BEGIN
	t := property.truth(tab, q, cond);
	upto := least(cardinality(t.ds), coalesce(lim + off, cardinality(t.ds)));
	IF ties AND upto > off THEN
		SELECT count(*) INTO upto FROM unnest(t.ds) d WHERE d <= t.ds[upto];
	END IF;
	query := format('SELECT id, coalesce(code <~> %s, 2147483647) AS d FROM %s WHERE %s ORDER BY code <~> %s OFFSET %s',
		q, tab, cond, q, off);
	IF lim IS NOT NULL THEN
		query := query || format(' FETCH FIRST %s ROWS %s', lim, CASE WHEN ties THEN 'WITH TIES' ELSE 'ONLY' END);
	END IF;
	PERFORM property.through_index('ordered');
	IF must AND NOT property.uses_index(query) THEN
		RETURN 'DIFFERS: no index in the plan of ' || query;
	END IF;
	EXECUTE format('SELECT coalesce(array_agg(id), ''{}''), coalesce(array_agg(d), ''{}'') FROM (%s) s', query)
	INTO got_ids, got_ds;
	RETURN property.verdict(query, got_ids, got_ds, t.ds[off + 1 : upto], t.ids, t.ds);
END $$;

-- All rows within a radius.  ball is the condition under test, such as
-- code <@ hashball(q, r) or hamming_within(code, q, r).
CREATE FUNCTION property.radius(tab text, q text, r int, ball text, cond text, way text, must boolean)
RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	t record;
	query text;
	got_ids int[];
	got_ds int[];
BEGIN
	t := property.truth(tab, q, format('%s AND (code <~> %s) <= %s', cond, q, r));
	query := format('SELECT id, coalesce(code <~> %s, 2147483647) AS d FROM %s WHERE %s AND %s', q, tab, ball, cond);
	IF way = 'ordered' THEN
		query := query || format(' ORDER BY code <~> %s', q);
	END IF;
	PERFORM property.through_index(way);
	IF must AND NOT property.uses_index(query) THEN
		RETURN 'DIFFERS: no index in the plan of ' || query;
	END IF;
	EXECUTE format('SELECT coalesce(array_agg(id), ''{}''), coalesce(array_agg(d), ''{}'') FROM (%s) s', query)
	INTO got_ids, got_ds;
	IF way <> 'ordered' THEN
		SELECT coalesce(array_agg(id ORDER BY d), '{}'), coalesce(array_agg(d ORDER BY d), '{}') INTO got_ids, got_ds
		FROM unnest(got_ids, got_ds) u(id, d);
	END IF;
	RETURN property.verdict(way || ' ' || query, got_ids, got_ds, t.ds, t.ids, t.ds);
END $$;

-- Two balls at once, with AND or OR, through whatever the planner makes of it.
CREATE FUNCTION property.two_balls(tab text, q1 text, r1 int, q2 text, r2 int, joiner text, way text, must boolean)
RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	t record;
	query text;
	got_ids int[];
	got_ds int[];
BEGIN
	t := property.truth(tab, q1, format('((code <~> %s) <= %s %s (code <~> %s) <= %s)', q1, r1, joiner, q2, r2));
	query := format('SELECT id, coalesce(code <~> %s, 2147483647) AS d FROM %s WHERE (code <@ hashball((%s)::hashcode, %s) %s code <@ hashball((%s)::hashcode, %s))',
		q1, tab, q1, r1, joiner, q2, r2);
	PERFORM property.through_index(way);
	IF must AND NOT property.uses_index(query) THEN
		RETURN 'DIFFERS: no index in the plan of ' || query;
	END IF;
	EXECUTE format('SELECT coalesce(array_agg(id ORDER BY d), ''{}''), coalesce(array_agg(d ORDER BY d), ''{}'') FROM (%s) s', query)
	INTO got_ids, got_ds;
	RETURN property.verdict(way || ' ' || query, got_ids, got_ds, t.ds, t.ids, t.ds);
END $$;

-- One scan of the index started again for each of several codes (a NULL too).
CREATE FUNCTION property.rescan(tab text, qs text[], lim int, must boolean)
RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	t record;
	query text;
	got_ids int[];
	got_ds int[];
	verdict text;
	n int;
BEGIN
	query := format('SELECT n, id, d FROM (VALUES %s) q(n, c), LATERAL (SELECT id, coalesce(code <~> q.c, 2147483647) AS d FROM %s
		ORDER BY code <~> q.c LIMIT %s) s', (SELECT string_agg(format('(%s, %s)', o, q), ', ') FROM unnest(qs) WITH ORDINALITY u(q, o)), tab, lim);
	FOR n IN 1 .. cardinality(qs) LOOP
		t := property.truth(tab, qs[n], 'true');
		PERFORM property.through_index('ordered');
		IF must AND NOT property.uses_index(query) THEN
			RETURN 'DIFFERS: no index in the plan of ' || query;
		END IF;
		EXECUTE format('SELECT coalesce(array_agg(id), ''{}''), coalesce(array_agg(d), ''{}'') FROM (%s) s WHERE n = %s', query || ' OFFSET 0', n)
		INTO got_ids, got_ds;
		verdict := property.verdict(format('code %s of %s', n, query), got_ids, got_ds, t.ds[1 : lim], t.ids, t.ds);
		EXIT WHEN verdict <> 'ok';
	END LOOP;
	RETURN verdict;
END $$;

-- A cursor answers from its snapshot, whatever happens to table and index
-- between two fetches.
CREATE FUNCTION property.held_open(tab text, q text, first int, meanwhile text)
RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	t record;
	c refcursor;
	row record;
	got_ids int[] := '{}';
	got_ds int[] := '{}';
BEGIN
	t := property.truth(tab, q, 'true');
	PERFORM property.through_index('ordered');
	OPEN c FOR EXECUTE format('SELECT id, coalesce(code <~> %s, 2147483647) AS d FROM %s ORDER BY code <~> %s', q, tab, q);
	LOOP
		IF cardinality(got_ids) = first THEN
			EXECUTE meanwhile;
		END IF;
		FETCH c INTO row;
		EXIT WHEN NOT FOUND;
		got_ids := got_ids || row.id;
		got_ds := got_ds || row.d;
	END LOOP;
	CLOSE c;
	RETURN property.verdict('cursor, meanwhile ' || left(meanwhile, 60), got_ids, got_ds, t.ds, t.ids, t.ds);
END $$;

-- A query that needs no column at all may be given to any index.
CREATE FUNCTION property.counted(tab text, cond text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	query text := format('SELECT count(*) FROM %s WHERE %s', tab, cond);
	want bigint;
	got bigint;
BEGIN
	PERFORM property.sequential();
	EXECUTE query INTO want;
	PERFORM property.through_index('index');
	EXECUTE query INTO got;
	RETURN CASE WHEN got = want THEN 'ok' ELSE format('DIFFERS: %s: %s, right is %s', query, got, want) END;
END $$;

-- The distance operator itself, by way of bit strings.
CREATE FUNCTION property.distances(tab text, q text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	wrong bigint;
BEGIN
	EXECUTE format('SELECT count(*) FROM %s WHERE (code <~> %s) <> length(replace((code::hashcode::varbit # (%s)::hashcode::varbit)::text, ''0'', ''''))', tab, q, q)
	INTO wrong;
	RETURN CASE wrong WHEN 0 THEN 'ok' ELSE format('DIFFERS: %s distances from %s are wrong', wrong, q) END;
END $$;

-- mih_check with the heap compared; it raises an error that names what is wrong.
CREATE FUNCTION property.checked(index text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
	PERFORM mih_check(index::regclass, true);
	RETURN 'ok';
EXCEPTION WHEN OTHERS THEN
	RETURN 'DIFFERS: mih_check: ' || sqlerrm;
END $$;
