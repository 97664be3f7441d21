-- Casts between hashcode and what people already keep.

-- bit strings: the same bits in the same order
SELECT b'10100011'::hashcode, b'101'::hashcode, x'a3f0'::varbit::hashcode,
       'a3f0'::hashcode::varbit, 'b''101'''::hashcode::bit(3), 'a3f0'::hashcode::bit(16);
SELECT bool_and(b::hashcode::varbit = b) FROM (SELECT substring(x'd3a1947f5b60'::varbit, 1, n) b FROM generate_series(1, 48) n) s;
-- bytea: whole bytes
SELECT '\xa3f0'::bytea::hashcode, 'a3f0'::hashcode::bytea;
-- bigint: 64 bits, the sign is bit 0
SELECT 1::bigint::hashcode, (-1)::bigint::hashcode, (-9223372036854775808)::hashcode,
       '8000000000000001'::hashcode::bigint, 'ffffffffffffffff'::hashcode::bigint;
SELECT bool_and(v::hashcode::bigint = v) FROM (VALUES (0::bigint), (42), (-42), (9223372036854775807), (-9223372036854775808)) t(v);
-- by assignment: columns of either type can be filled from the other
CREATE TABLE phash (h64 bigint, bits bit(64), raw bytea, code hashcode(64));
INSERT INTO phash(h64, bits, raw) VALUES (-1234567890123456789, x'eeddef0b82167eeb', '\xeeddef0b82167eeb');
UPDATE phash SET code = h64;
SELECT code FROM phash;
UPDATE phash SET code = bits;
SELECT code FROM phash;
UPDATE phash SET code = raw;
SELECT code FROM phash;
UPDATE phash SET h64 = code, bits = code, raw = code;
SELECT * FROM phash;
-- vectors by sign: 1 where the element is above the threshold; equality and NaN give 0
SELECT '{1,-1,0.5,0,-0.0,NaN,Infinity,-Infinity}'::real[]::hashcode;
SELECT hashcode('{1,2,3,4}'::real[], 2.5::real), hashcode('{1,2,3,4}'::real[], '{0,2,3.5,-1}'::real[]);
SELECT length(array_agg(i - 2048.5 ORDER BY i)::real[]::hashcode), popcount(array_agg(i - 2048.5 ORDER BY i)::real[]::hashcode)
FROM generate_series(1, 4096) i;
SELECT ('{1,-1,1}'::real[])[1:2]::hashcode, '[5:7]={1,-1,1}'::real[]::hashcode;
-- only explicitly, for the vector is lost
UPDATE phash SET code = '{1,2}'::real[];
-- toasted and compressed sources are read
CREATE TABLE stored (v real[], b bytea, s varbit);
ALTER TABLE stored ALTER b SET STORAGE external;
INSERT INTO stored SELECT array_agg((i % 3 - 1)::real), decode(repeat('5a', 512), 'hex'), repeat('10', 2048)::varbit FROM generate_series(1, 4096) i;
SELECT popcount(v::hashcode), popcount(b::hashcode), popcount(s::hashcode), length(s::hashcode) FROM stored;

-- refused
SELECT b''::hashcode;
SELECT ''::bytea::hashcode;
SELECT '{}'::real[]::hashcode;
SELECT repeat('1', 4097)::varbit::hashcode;
SELECT decode(repeat('00', 513), 'hex')::hashcode;
SELECT array_fill(1::real, ARRAY[4097])::hashcode;
SELECT array_fill(1::real, ARRAY[2, 2])::hashcode;
SELECT '{1,2,NULL,4}'::real[]::hashcode;
SELECT hashcode('{1,2,3}'::real[], '{1,2}'::real[]);
SELECT hashcode('{1,2}'::real[], '{1,NULL}'::real[]);
SELECT 'b''101'''::hashcode::bytea;
SELECT 'a3f0'::hashcode::bigint;
UPDATE phash SET code = '\xa3'::bytea;
\set VERBOSITY sqlstate
SELECT b''::hashcode;
SELECT repeat('1', 4097)::varbit::hashcode;
SELECT array_fill(1::real, ARRAY[2, 2])::hashcode;
SELECT '{1,2,NULL,4}'::real[]::hashcode;
SELECT hashcode('{1,2,3}'::real[], '{1,2}'::real[]);
SELECT 'b''101'''::hashcode::bytea;
SELECT 'a3f0'::hashcode::bigint;
DROP TABLE phash, stored;
\set VERBOSITY default
