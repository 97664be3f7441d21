-- Text form of hashcode: what is read, what is written, what is refused.

-- hexadecimal: bare, quoted, and with the prefixes of other tools
SELECT 'a3f0'::hashcode, 'A3F0'::hashcode, 'x''a3f0'''::hashcode, 'X''a3F0'''::hashcode,
       'xa3f0'::hashcode, '0xa3f0'::hashcode, '0Xa3f0'::hashcode, '\xa3f0'::hashcode;
-- binary digits need their quotes
SELECT 'b''1010'''::hashcode, 'B''101'''::hashcode, 'b''1'''::hashcode;
-- b without a quote is a hexadecimal digit, and so is a leading 0
SELECT 'b0101'::hashcode, length('b0101'::hashcode), '0101'::hashcode, length('0101'::hashcode),
       'b0'::hashcode, 'b'::hashcode;
-- white space around, not inside
SELECT E' \t\n a3f0 \r '::hashcode, '  b''11''  '::hashcode;
-- 1 to 4096 bits
SELECT length('0'::hashcode), length(repeat('f', 1024)::hashcode), length(('b''' || repeat('1', 4095) || '''')::hashcode);
-- every length comes back from its own text, with and without the type modifier
SELECT count(*), bool_and(c = c::text::hashcode), bool_and(c::text = b OR length(c) % 4 = 0)
FROM (SELECT b, b::hashcode AS c
      FROM (SELECT 'b''' || substr(repeat('1101001110010101', 9), n % 7 + 1, n) || '''' AS b
            FROM generate_series(1, 130) n) s) t;
DO $$
DECLARE
  again text;
BEGIN
  FOR n IN 1..64 LOOP
    EXECUTE format('SELECT %L::hashcode(%s)::text', 'b''' || repeat('10', n)::varchar || '''', 2 * n) INTO again;
    EXECUTE format('SELECT %L::hashcode(%s)::text', again, 2 * n) INTO STRICT again;
    IF again::hashcode <> ('b''' || repeat('10', n) || '''')::hashcode THEN
      RAISE EXCEPTION '% bits do not come back', 2 * n;
    END IF;
  END LOOP;
END $$;
-- literals of bit strings are cast, not read
SELECT x'a3f0'::hashcode, b'101'::hashcode;

-- refused, with the position
SELECT ''::hashcode;
SELECT '   '::hashcode;
SELECT 'x'::hashcode;
SELECT 'b'''''::hashcode;
SELECT 'a3g0'::hashcode;
SELECT '  a3 f0'::hashcode;
SELECT 'b''0120'''::hashcode;
SELECT 'x''a3f0'::hashcode;
SELECT 'b'''::hashcode;
SELECT 'a3f0'''::hashcode;
SELECT 'aä'::hashcode;
SELECT '-1'::hashcode;
SELECT (repeat('0', 1024) || '0')::hashcode;
SELECT repeat('0', 1000000)::hashcode;
SELECT ('b''' || repeat('0', 4097) || '''')::hashcode;

\set VERBOSITY sqlstate
SELECT ''::hashcode;
SELECT 'a3g0'::hashcode;
SELECT 'x''a3f0'::hashcode;
SELECT repeat('0', 1025)::hashcode;
\set VERBOSITY default
