-- Hamming distance, balls, hamming_within.
SELECT 'a3f0'::hashcode <~> 'a3f0', 'a3f0'::hashcode <~> 'a3f1', '00'::hashcode <~> 'ff', 'b''101'''::hashcode <~> 'b''010''',
       hamming_distance('a', 'b'), repeat('0', 1024)::hashcode <~> repeat('f', 1024)::hashcode;
-- against a count of characters, for every length
SELECT count(*), bool_and(a <~> b = length(replace((a # b)::varbit::text, '0', ''))), bool_and(a <~> b = b <~> a)
FROM (SELECT substr(repeat(x'5b60d3a1947fe2c8'::text, 9), 1, n)::varbit::hashcode a,
             substr(repeat(x'94e2c87f5b60d3a1'::text, 9), 3, n)::varbit::hashcode b
      FROM generate_series(1, 540) n) s;
SELECT NULL::hashcode <~> 'a', hamming_within(hashcode 'a', NULL, 1), hamming_within(hashcode 'a', 'a', NULL), hashball(NULL, 1), hashcode 'a' <@ NULL::hashball;

-- balls
SELECT hashball('a3f0', 5), '<a3f0,5>'::hashball, ' < xa3f0 , 5 > '::hashball, '<b''101'',2>'::hashball,
       centre('<a3f0,5>'), radius('<a3f0,5>'::hashball);
-- a radius past the length holds everything, and is shown as the length
SELECT hashball('a3f0', 17), hashball('a3f0', 2147483647), '<a3f0,99999999999999999999>'::hashball, '0c0f'::hashcode <@ hashball('a3f0', 1000);
SELECT hashcode 'a3f0' <@ hashball('a3f1', 0), hashcode 'a3f0' <@ hashball('a3f1', 1), hashball('a3f1', 1) @> 'a3f0'::hashcode, hashball('a3f1', 0) @> 'a3f0'::hashcode;
SELECT hamming_within(hashcode 'a3f0', 'a3f1', 0), hamming_within(hashcode 'a3f0', 'a3f1', 1), hamming_within(hashcode 'a3f0', '5c0f', 15), hamming_within(hashcode 'a3f0', '5c0f', 16),
       hamming_within(hashcode 'a3f0', '5c0f', 2147483647);
-- the three ways of saying it agree
SELECT count(*), bool_and((a <~> b <= r) = (a <@ hashball(b, r))), bool_and((a <~> b <= r) = (hashball(b, r) @> a)),
       bool_and((a <~> b <= r) = hamming_within(a, b, r)), bool_and(a <@ hashball(b, r)::text::hashball = (a <~> b <= r))
FROM (SELECT (n * 2654435761 % 4294967296)::bit(32)::hashcode a, (n * 2246822519 % 4294967296)::bit(32)::hashcode b FROM generate_series(1, 100) n) s,
     generate_series(0, 33, 3) r;

-- refused
SELECT 'a3f0'::hashcode <~> 'a3';
SELECT 'a3f0'::hashcode <@ '<a3,1>';
SELECT '<a3,1>'::hashball @> 'a3f0'::hashcode;
SELECT hamming_within(hashcode 'a3f0', 'a3', 1);
SELECT hamming_within(hashcode 'a3f0', 'a3f0', -1);
SELECT hashball('a3f0', -1);
SELECT ''::hashball;
SELECT 'a3f0'::hashball;
SELECT '<a3f0>'::hashball;
SELECT '<a3f0,>'::hashball;
SELECT '<a3f0,-1>'::hashball;
SELECT '<a3f0,1.5>'::hashball;
SELECT '<a3g0,1>'::hashball;
SELECT '<,1>'::hashball;
SELECT 'a3f0,<1>'::hashball;
\set VERBOSITY sqlstate
SELECT 'a3f0'::hashcode <~> 'a3';
SELECT 'a3f0'::hashcode <@ '<a3,1>';
SELECT hamming_within(hashcode 'a3f0', 'a3f0', -1);
SELECT '<a3f0,-1>'::hashball;
\set VERBOSITY default

-- re-ranking: a disagreeing bit costs as much as the query was sure of it
SELECT asymmetric_distance('b''1010''', '{0.5,-2,0.25,-1}'), asymmetric_distance('b''0101''', '{0.5,-2,0.25,-1}'),
       asymmetric_distance('b''1110''', '{0.5,-2,0.25,-1}'), asymmetric_distance('b''1010''', '{0,0,-0.0,0}'),
       asymmetric_distance('b''11''', '{1,1}', '{2,0.5}'), asymmetric_distance('b''10''', '{-Infinity,1}');
-- with a vector of +1 and -1 it is the Hamming distance
SELECT bool_and(asymmetric_distance(a, v) = a <~> v::hashcode)
FROM (SELECT (n * 2654435761 % 4294967296)::bit(32)::hashcode a,
             (SELECT array_agg((2 * get_bit((n * 40503)::bit(32), i) - 1)::real ORDER BY i) FROM generate_series(0, 31) i) v
      FROM generate_series(1, 50) n) s;
SELECT asymmetric_distance('b''101''', '{1,2}');
SELECT asymmetric_distance('b''101''', '{1,NaN,2}');
SELECT asymmetric_distance('b''101''', '{1,NULL,2}');
SELECT asymmetric_distance('b''101''', '{{1,2,3}}');
SELECT asymmetric_distance('b''101''', '{1,2,3}', '{1,2}');
SELECT asymmetric_distance('b''10''', '{Infinity,1}', '{Infinity,1}');
