-- functions.sql: what the scripts of search.sh measure with.
CREATE TABLE results (name text PRIMARY KEY, value numeric);

-- CPU of this session so far, in milliseconds (Linux).  The kernel accounts for it
-- when the session lets go of the processor, hence the nap.
CREATE FUNCTION cpu_ms() RETURNS numeric LANGUAGE sql VOLATILE AS
	$$SELECT pg_sleep(0.002); SELECT split_part(pg_read_file('/proc/self/schedstat'), ' ', 1)::numeric / 1e6$$;

CREATE FUNCTION note(name text, value numeric) RETURNS void LANGUAGE sql AS
	$$INSERT INTO results VALUES (name, value) ON CONFLICT (name) DO UPDATE SET value = excluded.value$$;

-- Run a statement and note its CPU and wall time, in milliseconds.
CREATE FUNCTION timed(name text, statement text) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
	cpu numeric := cpu_ms();
	start timestamptz := clock_timestamp();
BEGIN
	EXECUTE statement;
	PERFORM note(name || '_wall', extract(epoch FROM clock_timestamp() - start) * 1000),
		note(name || '_cpu', cpu_ms() - cpu);
END $$;

-- A query over codes in terms of q, to be asked again and again with one plan.
CREATE FUNCTION prepare_query(statement text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
	EXECUTE format('CREATE OR REPLACE FUNCTION ask_once(q hashcode) RETURNS void LANGUAGE plpgsql AS
		$f$BEGIN PERFORM * FROM (%s) s; END$f$', statement);
END $$;

-- Ask every query so many times, after a round to warm up, and note median, 99th
-- percentile, maximum and of each query's fastest time the maximum, all wall time, and
-- the mean CPU time.  A time includes the executor, heap fetches and PL/pgSQL.
CREATE FUNCTION ask(name text, statement text, rounds int DEFAULT 3) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
	times float8[] := '{}';
	ids int[] := '{}';
	cpu numeric;
	start timestamptz;
	q record;
BEGIN
	PERFORM prepare_query(statement);
	FOR round IN 0 .. rounds LOOP
		IF round = 1 THEN
			cpu := cpu_ms();
		END IF;
		FOR q IN SELECT n, code FROM queries ORDER BY n LOOP
			start := clock_timestamp();
			PERFORM ask_once(q.code);
			IF round > 0 THEN
				times := times || extract(epoch FROM clock_timestamp() - start)::float8 * 1000;
				ids := ids || q.n;
			END IF;
		END LOOP;
	END LOOP;
	PERFORM note(name || '_cpu', (cpu_ms() - cpu) / cardinality(times));
	PERFORM note(name || '_p50', percentile_cont(0.5) WITHIN GROUP (ORDER BY t)::numeric),
		note(name || '_p99', percentile_cont(0.99) WITHIN GROUP (ORDER BY t)::numeric) FROM unnest(times) t;
	PERFORM note(name || '_worst', max(best)::numeric)
		FROM (SELECT min(t) AS best FROM unnest(times, ids) u(t, n) GROUP BY n) s;
END $$;

-- Queries a second that this session answers in so many seconds.
CREATE FUNCTION ask_for(seconds float8) RETURNS float8 LANGUAGE plpgsql AS $$
DECLARE
	start timestamptz := clock_timestamp();
	asked int := 0;
	q hashcode;
BEGIN
	LOOP
		FOR q IN SELECT code FROM queries ORDER BY n LOOP
			PERFORM ask_once(q);
			asked := asked + 1;
		END LOOP;
		IF clock_timestamp() > start + seconds * interval '1 second' THEN
			RETURN asked / extract(epoch FROM clock_timestamp() - start);
		END IF;
	END LOOP;
END $$;

-- Single-row inserts of so many of the codes, in one transaction; notes latencies.
CREATE FUNCTION insert_rows(name text, target regclass, wanted int) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
	times float8[];
	start timestamptz;
	c hashcode;
	done int := 0;
BEGIN
	times := array_fill(0::float8, ARRAY[wanted]);
	FOR c IN SELECT code FROM codes LIMIT wanted LOOP
		start := clock_timestamp();
		EXECUTE format('INSERT INTO %s VALUES ($1)', target) USING c;
		done := done + 1;
		times[done] := extract(epoch FROM clock_timestamp() - start)::float8 * 1000;
	END LOOP;
	PERFORM note(name || '_p50', percentile_cont(0.5) WITHIN GROUP (ORDER BY t)::numeric),
		note(name || '_p99', percentile_cont(0.99) WITHIN GROUP (ORDER BY t)::numeric),
		note(name || '_p999', percentile_cont(0.999) WITHIN GROUP (ORDER BY t)::numeric),
		note(name || '_max', max(t)::numeric) FROM unnest(times) t;
END $$;
