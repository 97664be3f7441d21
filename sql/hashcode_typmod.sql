-- hashcode(n): the type modifier in tables, casts and functions.
SELECT 'a3f0'::hashcode(16), format_type('hashcode'::regtype, 16);
CREATE TABLE typmod (code hashcode(64), odd hashcode(10), any_length hashcode);
\d typmod
INSERT INTO typmod VALUES ('00112233445566ff', 'b''1010101010''', 'a');
INSERT INTO typmod VALUES ('00112233445566FF', 'b''0000000000''', 'abc');
SELECT * FROM typmod;
-- no code is cut or padded: not by assignment, not by a cast
INSERT INTO typmod(code) VALUES ('0011');
INSERT INTO typmod(code) SELECT any_length FROM typmod;
UPDATE typmod SET odd = any_length;
SELECT 'a3f0'::hashcode::hashcode(8);
SELECT any_length::hashcode(4) FROM typmod WHERE any_length = 'a';
-- bare digits are hexadecimal; the hint says so where binary ones were meant
INSERT INTO typmod(odd) VALUES ('1010101010');
COPY typmod(odd) FROM stdin;
1010101010
\.
INSERT INTO typmod(odd) VALUES ('a');
INSERT INTO typmod(odd) VALUES ('b''101''');
-- a column changes its length only where the codes have it
ALTER TABLE typmod ALTER any_length TYPE hashcode(4);
DELETE FROM typmod WHERE any_length = 'abc';
ALTER TABLE typmod ALTER any_length TYPE hashcode(4);
\d typmod
CREATE TABLE typmod_copy AS SELECT * FROM typmod;
\d typmod_copy
CREATE DOMAIN code8 AS hashcode(8) CHECK (popcount(VALUE) < 8);
SELECT 'fe'::code8;
SELECT 'ff'::code8;
-- arrays
SELECT ARRAY['a3', '00']::hashcode(8)[], ('{a3,b''1''}'::hashcode[])[2];
SELECT '{a3,b1c}'::hashcode(8)[];
-- the modifier itself
SELECT 'a'::hashcode(0);
SELECT 'a'::hashcode(4097);
SELECT 'a'::hashcode(-4);
SELECT 'a'::hashcode(4, 4);
SELECT 'a'::hashcode(99999999999);
SELECT length(repeat('a', 1024)::hashcode(4096)), 'b''1'''::hashcode(1);
-- storage is plain: never compressed, never out of line, never with a short header
SELECT typstorage, typalign, typlen FROM pg_type WHERE typname IN ('hashcode', 'hashball') ORDER BY typname;
ALTER TABLE typmod ALTER code SET STORAGE external;
SELECT pg_column_size(code), pg_column_size(odd) FROM typmod;
-- inside values that are themselves compressed or moved out of line
CREATE TYPE tagged AS (tag text, code hashcode(64), note text);
CREATE TABLE outer_values (codes hashcode(64)[], one tagged, several tagged[]);
INSERT INTO outer_values
SELECT array_agg(c), ROW('t', '00112233445566ff'::hashcode, repeat('compressible ', 1000))::tagged,
       array_agg(ROW(repeat('x', (n % 9)::int), c, md5(n::text))::tagged)
FROM (SELECT n, lpad(to_hex(n), 16, '0')::hashcode c FROM generate_series(1, 1000) n) s;
SELECT pg_column_size(codes) < 24 * 1000 AS compressed, pg_column_size(several) > 0,
       codes[255] <~> '0000000000000000', (one).code <~> '0000000000000000', several[255].code <~> codes[255]
FROM outer_values;
SELECT sum(code <~> '0000000000000000'), bool_and(o = code) FROM outer_values, unnest(codes, several) AS u(code, tag, o, note);
CREATE TABLE outer_copy AS SELECT * FROM outer_values;
SELECT count(*) FROM outer_copy c, outer_values v WHERE c.codes = v.codes AND c.one = v.one AND c.several = v.several;
DROP TABLE outer_values, outer_copy;
DROP TYPE tagged;
\set VERBOSITY sqlstate
INSERT INTO typmod(code) VALUES ('0011');
SELECT 'a3f0'::hashcode::hashcode(8);
SELECT 'a'::hashcode(0);
SELECT 'a'::hashcode(4, 4);
DROP TABLE typmod, typmod_copy;
DROP DOMAIN code8;
\set VERBOSITY default
