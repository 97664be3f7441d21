-- The wire form: int32 number of bits, then the bytes.
SELECT hashcode_send('a3f0'), hashcode_send('b''101'''), hashball_send('<a3f0,5>');

-- COPY BINARY there and back
CREATE TABLE wire (id int, code hashcode, ball hashball, fixed hashcode(100));
INSERT INTO wire
SELECT n, ('b''' || substr(repeat('0110100111', 20), n % 9 + 1, n) || '''')::hashcode,
       hashball(('b''' || repeat('1', n) || '''')::hashcode, n / 2), repeat(to_hex(n % 16), 25)::hashcode
FROM generate_series(1, 150) n;
INSERT INTO wire VALUES (0, repeat('f', 1024)::hashcode, hashball(repeat('f', 1024)::hashcode, 4096), NULL);
CREATE TABLE wire_copy (LIKE wire);
SELECT pg_backend_pid() AS pid \gset
\set file '/tmp/deephash_wire_' :pid
COPY wire TO :'file' (FORMAT binary);
COPY wire_copy FROM :'file' (FORMAT binary);
SELECT count(*) FROM (TABLE wire_copy) c JOIN wire w USING (id)
WHERE c.code = w.code AND c.ball::text = w.ball::text AND c.fixed IS NOT DISTINCT FROM w.fixed;
-- text as well
COPY wire TO :'file';
TRUNCATE wire_copy;
COPY wire_copy FROM :'file';
SELECT count(*) FROM wire_copy c JOIN wire w USING (id) WHERE c.code = w.code AND c.ball::text = w.ball::text;

-- Hostile bytes: a binary COPY file of one row and one field, written through a
-- large object.
CREATE TABLE hostile (code hashcode(16));
CREATE TABLE hostile_ball (ball hashball);
CREATE FUNCTION try_binary(target regclass, field bytea) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
  path text := '/tmp/deephash_hostile_' || pg_backend_pid();
  state text; message text; detail text;
BEGIN
  PERFORM lo_from_bytea(4242, '\x5047434f50590aff0d0a000000000000000000'::bytea || '\x0001'
    || int4send(length(field)) || field || '\xffff'::bytea);
  PERFORM lo_export(4242, path);
  PERFORM lo_unlink(4242);
  EXECUTE format('COPY %s FROM %L (FORMAT binary)', target, path);
  RETURN 'accepted';
EXCEPTION WHEN OTHERS THEN
  GET STACKED DIAGNOSTICS state = RETURNED_SQLSTATE, message = MESSAGE_TEXT, detail = PG_EXCEPTION_DETAIL;
  RETURN state || ' ' || message || '. ' || detail;
END $$;
SELECT left(field::text, 20) AS field, try_binary('hostile', field)
FROM (VALUES ('\x00000010a3f0'::bytea), ('\x00000010a3'), ('\x00000010'), ('\x000000'), (''),
             ('\x00000010a3f000'), ('\x00000008a3'), ('\x00000000'), ('\xffffffff'), ('\x80000000'),
             ('\x00001001' || repeat('a', 513)::bytea), ('\x7fffffffa3f0'),
             ('\x0000000ca3f0'), ('\x0000000ca3f1')) v(field);
SELECT field, try_binary('hostile_ball', field)
FROM (VALUES ('\x0000000500000010a3f0'::bytea), ('\x0000001100000010a3f0'), ('\x7fffffff00000010a3f0'),
             ('\xffffffff00000010a3f0'), ('\x0000000500000010a3'), ('\x00000005'),
             ('\x000000050000000ca3f1')) v(field);
TABLE hostile;
TABLE hostile_ball;
\set command 'rm -f ' :file ' /tmp/deephash_hostile_' :pid
COPY (SELECT 1) TO PROGRAM :'command';
DROP FUNCTION try_binary;
DROP TABLE wire, wire_copy, hostile, hostile_ball;
