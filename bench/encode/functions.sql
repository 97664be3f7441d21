-- functions.sql: what the sessions of encode.sh run.
CREATE EXTENSION deephash;
CREATE TABLE photo (id int PRIMARY KEY, jpeg bytea NOT NULL);
ALTER TABLE photo ALTER jpeg SET STORAGE EXTERNAL; -- JPEGs do not get smaller
CREATE TABLE begun (stop timestamptz); -- a row: all sessions may begin
CREATE TABLE timing (what text, session int, photo int, at float8, ms float8);
CREATE TABLE spent (what text, session int, images int, session_cpu float8, engine_cpu float8);

CREATE FUNCTION seconds(t timestamptz) RETURNS float8 LANGUAGE sql STABLE AS
	$$SELECT extract(epoch FROM t)::float8$$;

-- CPU of this session so far in milliseconds (Linux).  The kernel accounts for it when
-- the session lets go of the processor, hence the nap.
CREATE FUNCTION session_cpu() RETURNS float8 LANGUAGE sql VOLATILE AS
	$$SELECT pg_sleep(0.002); SELECT split_part(pg_read_file('/proc/self/schedstat'), ' ', 1)::float8 / 1e6$$;

-- The same of the engine, all its threads (ticks of 10 ms).
CREATE FUNCTION engine_cpu() RETURNS float8 LANGUAGE sql VOLATILE AS
	$$SELECT 10 * (f[12]::float8 + f[13]::float8)
	  FROM (SELECT pid FROM deephash_service) s,
	       string_to_array(regexp_replace(pg_read_file('/proc/' || pid || '/stat'), '^.*\) ', ''), ' ') f$$;

-- Encode one picture after another until the row in begun says stop; the pictures go
-- round, and each session begins at another.  The statement becomes part of the loop, so
-- that a time holds nothing but its execution; in it `picture` is the picture's number.
CREATE FUNCTION encode_alone(what text, session int, statement text) RETURNS void LANGUAGE plpgsql AS $make$
BEGIN
	EXECUTE format($format$
CREATE FUNCTION pg_temp.loop(what text, session int) RETURNS void LANGUAGE plpgsql AS $loop$
DECLARE
	total int := (SELECT count(*) FROM photo);
	picture int := (session - 1) * 7919; -- the first as the bare engine
	stop_at timestamptz;
	start timestamptz;
	ended timestamptz;
	pictures int[] := '{}';
	starts timestamptz[] := '{}';
	ends timestamptz[] := '{}';
	mine float8;
	engines float8;
BEGIN
	picture := picture %% total;
	%1$s; -- connect
	LOOP
		SELECT stop INTO stop_at FROM begun;
		EXIT WHEN FOUND;
		PERFORM pg_sleep(0.01);
	END LOOP;
	mine := session_cpu();
	engines := engine_cpu();
	LOOP
		start := clock_timestamp();
		EXIT WHEN start > stop_at AND cardinality(pictures) > 1;
		%1$s;
		ended := clock_timestamp();
		pictures := pictures || picture;
		starts := starts || start;
		ends := ends || ended;
		picture := (picture + 1) %% total;
	END LOOP;
	INSERT INTO spent VALUES (what, session, cardinality(pictures), session_cpu() - mine, engine_cpu() - engines);
	INSERT INTO timing SELECT what, session, p, seconds(e), 1000 * (seconds(e) - seconds(s)) FROM unnest(pictures, starts, ends) u(p, s, e);
END $loop$ $format$, statement);
	PERFORM pg_temp.loop(what, session);
END $make$;

-- Encode all pictures in one statement after another, as long as the sessions above do.
CREATE FUNCTION bulk_load() RETURNS void LANGUAGE plpgsql AS $$
BEGIN
	WHILE clock_timestamp() < coalesce((SELECT stop FROM begun), 'infinity') LOOP
		PERFORM count(code) FROM deephash_encode_set((SELECT array_agg(jpeg) FROM photo), 'm');
	END LOOP;
END $$;

-- One line of a measurement by single pictures: pictures a second, CPU milliseconds a
-- picture of the engine and of sessions, latencies in milliseconds.  A session's rate
-- counts from the end of its first picture to the end of its last, so that it does not
-- matter how a batch lies to the clock.  The engine's CPU is that which session 1 saw,
-- per picture that ended meanwhile.
CREATE FUNCTION rates(of_what text) RETURNS text LANGUAGE sql AS $$
	SELECT format('%s %s %s %s %s %s %s', of_what,
		round((SELECT sum(rate) FROM (SELECT (count(*) - 1) / nullif(max(at) - min(at), 0) AS rate
			FROM timing WHERE what = of_what GROUP BY session) s)::numeric, 3),
		round(((SELECT engine_cpu FROM spent WHERE what = of_what AND session = 1) / count(*)
			FILTER (WHERE at <= last))::numeric, 4),
		round(((SELECT sum(session_cpu) / sum(images) FROM spent WHERE what = of_what))::numeric, 4),
		round((percentile_cont(0.5) WITHIN GROUP (ORDER BY ms))::numeric, 3),
		round((percentile_cont(0.95) WITHIN GROUP (ORDER BY ms))::numeric, 3),
		round((percentile_cont(0.99) WITHIN GROUP (ORDER BY ms))::numeric, 3))
	FROM timing, (SELECT max(at) AS last FROM timing WHERE what = of_what AND session = 1) s
	WHERE what = of_what$$;

-- A picture at a time, from the first on as the bare engine does: the median of its
-- milliseconds, with what it takes to fetch the picture from its table or without.
CREATE FUNCTION lone(of_seconds float8, fetching boolean) RETURNS float8 LANGUAGE plpgsql AS $$
DECLARE
	total int := (SELECT count(*) FROM photo);
	image bytea;
	code hashcode;
	start timestamptz;
	stop_at timestamptz;
	ms float8[] := '{}';
BEGIN
	FOR picture IN -3 .. 1000000 LOOP
		IF picture = 0 THEN
			stop_at := clock_timestamp() + of_seconds * interval '1 second';
		END IF;
		EXIT WHEN clock_timestamp() > stop_at AND picture > 1;
		IF fetching THEN
			start := clock_timestamp();
			code := deephash_encode(jpeg, 'm') FROM photo WHERE id = (picture + total) % total;
		ELSE
			image := jpeg || ''::bytea FROM photo WHERE id = (picture + total) % total;
			start := clock_timestamp();
			code := deephash_encode(image, 'm');
		END IF;
		IF picture >= 0 THEN
			ms := ms || 1000 * (seconds(clock_timestamp()) - seconds(start));
		END IF;
	END LOOP;
	RETURN (SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY m) FROM unnest(ms) m);
END $$;

-- Before and after a statement that encodes many pictures; after it the same line,
-- without latencies.
CREATE TABLE mark (start timestamptz, session_cpu float8, engine_cpu float8);
CREATE FUNCTION before_many() RETURNS void LANGUAGE sql VOLATILE AS
	$$TRUNCATE mark; INSERT INTO mark SELECT clock_timestamp(), session_cpu(), engine_cpu()$$;
CREATE FUNCTION after_many(what text, images int) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	wall float8 := seconds(clock_timestamp()) - (SELECT seconds(start) FROM mark);
BEGIN
	RETURN (SELECT format('%s %s %s %s - - -', what, round((images / wall)::numeric, 3),
		round(((engine_cpu() - m.engine_cpu) / images)::numeric, 4),
		round(((session_cpu() - m.session_cpu) / images)::numeric, 4)) FROM mark m);
END $$;
