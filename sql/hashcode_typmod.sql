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
\set VERBOSITY sqlstate
INSERT INTO typmod(code) VALUES ('0011');
SELECT 'a3f0'::hashcode::hashcode(8);
SELECT 'a'::hashcode(0);
SELECT 'a'::hashcode(4, 4);
DROP TABLE typmod, typmod_copy;
DROP DOMAIN code8;
\set VERBOSITY default
