-- Order, equality, hashing: btree, hash, sorting, grouping, joins.
SELECT 'a3'::hashcode = 'A3', 'a3'::hashcode <> 'a4', 'a3'::hashcode < 'a4', 'a3'::hashcode <= 'a3',
       'b''1'''::hashcode < 'b''10''', 'a3'::hashcode < 'a300', 'a4'::hashcode > 'a3ff', 'a3'::hashcode >= 'a4';
SELECT hashcode_cmp('a3', 'a3'), hashcode_cmp('a3', 'a4') < 0, hashcode_cmp('b''10''', 'b''1''') > 0;
CREATE TABLE ordered (id int, code hashcode);
INSERT INTO ordered
SELECT n, ('b''' || substr((n * 2654435761 % 4294967296)::bit(32)::text || repeat('0', 40), 1, 1 + n % 70) || '''')::hashcode
FROM generate_series(1, 3000) n;
-- the order is that of bit strings; sorted with and without abbreviated keys it is the same
CREATE FUNCTION disorder(sorted hashcode[]) RETURNS bigint LANGUAGE sql AS
$$SELECT count(*) FROM generate_series(2, array_length(sorted, 1)) i WHERE sorted[i - 1]::varbit > sorted[i]::varbit$$;
SELECT disorder(array_agg(code ORDER BY code)) FROM ordered;
SELECT count(*) FROM (SELECT row_number() OVER (ORDER BY code) a, row_number() OVER (ORDER BY code::varbit) b FROM ordered GROUP BY code) s WHERE a <> b;
SET enable_seqscan = off;
SET enable_bitmapscan = off;
CREATE INDEX ordered_btree ON ordered (code);
EXPLAIN (COSTS OFF) SELECT code FROM ordered ORDER BY code;
SELECT disorder(array(SELECT code FROM ordered ORDER BY code));
EXPLAIN (COSTS OFF) SELECT count(*) FROM ordered WHERE code >= '8' AND code < 'a';
SELECT count(*) FROM ordered WHERE code >= '8' AND code < 'a';
SELECT count(*) FROM ordered WHERE code::varbit >= b'1000' AND code::varbit < b'1010';
DROP INDEX ordered_btree;
CREATE INDEX ordered_hash ON ordered USING hash (code);
SELECT id, code FROM ordered WHERE id = 17 \gset
EXPLAIN (COSTS OFF) SELECT id FROM ordered WHERE code = :'code';
SELECT id FROM ordered WHERE code = :'code';
DROP INDEX ordered_hash;
CREATE UNIQUE INDEX ON ordered (code, id);
RESET enable_seqscan;
RESET enable_bitmapscan;

-- grouping and joining, hashed and sorted
SELECT count(DISTINCT code) = (SELECT count(DISTINCT code::varbit) FROM ordered) FROM ordered;
SET enable_hashagg = off;
SELECT count(*) FROM (SELECT code FROM ordered GROUP BY code) s;
SET enable_hashagg = on;
SET enable_sort = off;
SELECT count(*) FROM (SELECT code FROM ordered GROUP BY code) s;
SELECT count(*) FROM (SELECT DISTINCT code FROM ordered) s;
RESET enable_sort;
SET enable_mergejoin = off;
SET enable_nestloop = off;
EXPLAIN (COSTS OFF) SELECT count(*) FROM ordered a JOIN ordered b USING (code);
SELECT count(*) FROM ordered a JOIN ordered b USING (code);
RESET enable_mergejoin;
SET enable_hashjoin = off;
SELECT count(*) FROM ordered a JOIN ordered b USING (code);
RESET enable_hashjoin;
RESET enable_nestloop;
SELECT count(*) FROM ordered a JOIN ordered b ON a.code::varbit = b.code::varbit;
SELECT code FROM ordered EXCEPT SELECT code FROM ordered;

-- partitions by hash use the extended hash function
CREATE TABLE parted (code hashcode(32)) PARTITION BY HASH (code);
CREATE TABLE parted0 PARTITION OF parted FOR VALUES WITH (MODULUS 2, REMAINDER 0);
CREATE TABLE parted1 PARTITION OF parted FOR VALUES WITH (MODULUS 2, REMAINDER 1);
INSERT INTO parted SELECT lpad(to_hex(n), 8, '0')::hashcode FROM generate_series(1, 1000) n;
SELECT count(*) > 400, count(*) FILTER (WHERE tableoid = 'parted0'::regclass) BETWEEN 400 AND 600 FROM parted;
SELECT count(*) FROM parted WHERE code = '000000ff';

-- ANALYZE finds common codes, bounds and distinct values
INSERT INTO ordered SELECT n, 'abcd' FROM generate_series(10001, 11000) n;
ANALYZE ordered;
SELECT n_distinct, most_common_vals::text::hashcode[] @> ARRAY['abcd'::hashcode], array_length(histogram_bounds::text::hashcode[], 1)
FROM pg_stats WHERE tablename = 'ordered' AND attname = 'code';

-- the catalogue agrees with itself
SELECT amvalidate(oid) FROM pg_opclass WHERE opcintype = 'hashcode'::regtype
  AND opcmethod IN (SELECT oid FROM pg_am WHERE amname IN ('btree', 'hash'));
SELECT o.oid::regoperator FROM pg_operator o LEFT JOIN pg_operator c ON c.oid = o.oprcom LEFT JOIN pg_operator n ON n.oid = o.oprnegate
WHERE 'hashcode'::regtype IN (o.oprleft, o.oprright)
  AND (c.oprcom <> o.oid OR n.oprnegate <> o.oid OR o.oprcode = 0 OR c.oprcode = 0 OR n.oprcode = 0);
DROP FUNCTION disorder;
DROP TABLE ordered, parted;
