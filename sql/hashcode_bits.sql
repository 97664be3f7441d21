-- Bitwise operators and the parts of a code.
SELECT 'f0'::hashcode & '3c', 'f0'::hashcode | '3c', 'f0'::hashcode # '3c', ~ 'f0'::hashcode;
SELECT ~ 'b''101'''::hashcode, ~ ~ 'b''10101010101'''::hashcode, popcount(~ 'b''000'''::hashcode);
SELECT 'a3'::hashcode || 'f0', 'b''101'''::hashcode || 'b''01''', 'b''1'''::hashcode || 'ff', 'a'::hashcode || 'b''11''';
SELECT length('a3f0'::hashcode), popcount('a3f0'::hashcode), popcount(repeat('f', 1024)::hashcode), popcount('0'::hashcode);
-- bit 0 is the first digit
SELECT get_bit('80'::hashcode, 0), get_bit('80'::hashcode, 1), get_bit('01'::hashcode, 7),
       set_bit('00'::hashcode, 0, 1), set_bit('ff'::hashcode, 7, 0), set_bit('00ff'::hashcode, 8, 1);
SELECT substring('a3f0'::hashcode, 1, 4), substring('a3f0'::hashcode, 5, 8), substring('a3f0'::hashcode, 2, 3), substring('a3f0'::hashcode, 1, 16);
-- laws that hold for every length
SELECT bool_and((a # b) = ((a | b) & ~ (a & b))), bool_and(popcount(a # b) = a <~> b), bool_and(a # a = a & ~ a),
       bool_and(substring(a || b, length(a) + 1, length(b)) = b), bool_and(substring(a || b, 1, length(a)) = a),
       bool_and((a || b)::varbit = a::varbit || b::varbit), bool_and((~ a)::varbit = ~ a::varbit)
FROM (SELECT substring(x'5b60d3a1947fe2c8', 1, n)::varbit::hashcode a, substring(x'94e2c87f5b60d3a1', 1, n)::varbit::hashcode b
      FROM generate_series(1, 64) n) s;
SELECT bool_and(get_bit(c, i) = get_bit(c::varbit, i)), bool_and(get_bit(set_bit(c, i, 1 - get_bit(c, i)), i) = 1 - get_bit(c, i)),
       bool_and(set_bit(c, i, 1 - get_bit(c, i)) <~> c = 1)
FROM (SELECT 'b''11010011101'''::hashcode c) s, generate_series(0, 10) i;

-- refused
SELECT 'f0'::hashcode & 'f';
SELECT 'f0'::hashcode | 'f00';
SELECT 'f0'::hashcode # 'b''1''';
SELECT repeat('f', 1024)::hashcode || 'b''1''';
SELECT get_bit('f0'::hashcode, 8);
SELECT get_bit('f0'::hashcode, -1);
SELECT set_bit('f0'::hashcode, 8, 1);
SELECT set_bit('f0'::hashcode, 1, 2);
SELECT substring('f0'::hashcode, 0, 1);
SELECT substring('f0'::hashcode, 1, 9);
SELECT substring('f0'::hashcode, 8, 2147483647);
SELECT substring('f0'::hashcode, 3, 0);
\set VERBOSITY sqlstate
SELECT 'f0'::hashcode & 'f';
SELECT repeat('f', 1024)::hashcode || 'b''1''';
SELECT get_bit('f0'::hashcode, 8);
SELECT set_bit('f0'::hashcode, 1, 2);
SELECT substring('f0'::hashcode, 0, 1);
\set VERBOSITY default
