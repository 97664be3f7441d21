-- mih_exclude: EXCLUDE USING mih refuses a row near another.
\set ECHO none
\i test/mih.sql
\set ECHO all

-- Each ball holds the centre of the other: the smaller radius decides.
SELECT a, z, a <@> z AS mutual, z <@> a AS commuted, centre(a) <@ z AND centre(z) <@ a AS meaning
FROM (VALUES (hashball('00', 0), hashball('00', 0)), (hashball('00', 2), hashball('03', 2)), (hashball('00', 2), hashball('07', 2)),
	(hashball('00', 8), hashball('03', 1)), (hashball('00', 3), hashball('07', 5)), (NULL, hashball('00', 1))) v(a, z);
SELECT hashball('00', 1) <@> hashball('0000', 1);

CREATE TABLE p (id int PRIMARY KEY, code hashcode(64),
	CONSTRAINT mih_p EXCLUDE USING mih (hashball(code, 4) WITH <@>));
\d p
SELECT opcname, pg_index_column_has_property(indexrelid, 1, 'distance_orderable') AS orderable, pg_get_constraintdef(c.oid)
FROM pg_constraint c JOIN pg_index ON indexrelid = conindid JOIN pg_opclass o ON o.oid = indclass[0] WHERE conname = 'mih_p';
INSERT INTO p VALUES (1, '0000000000000000'), (2, '000000000000001f');
-- Four bits away, then five from all.
INSERT INTO p VALUES (3, '00000000000000ff');
INSERT INTO p VALUES (3, '00000000000003ff');
-- NULL conflicts with nothing.
INSERT INTO p VALUES (10, NULL), (11, NULL);
-- Of two in one statement.
INSERT INTO p VALUES (20, 'ff00000000000000'), (21, 'ff00000000000001');
INSERT INTO p VALUES (20, 'ff00000000000000'), (21, 'ff00000000000001') ON CONFLICT DO NOTHING;
INSERT INTO p VALUES (22, 'ff00000000000003') ON CONFLICT ON CONSTRAINT mih_p DO NOTHING;
INSERT INTO p VALUES (22, 'ff00000000000003') ON CONFLICT ON CONSTRAINT mih_p DO UPDATE SET id = 0;
INSERT INTO p VALUES (1, 'ffffffffffffffff') ON CONFLICT (id) DO NOTHING;
SELECT * FROM p ORDER BY id;
-- Updates: near its own old value is no conflict, near another is.
UPDATE p SET code = '0000000000000001' WHERE id = 1;
UPDATE p SET code = '000000000000000f' WHERE id = 1;
UPDATE p SET code = '0000000000000000' WHERE id = 1;
UPDATE p SET id = 30 WHERE id = 20;
-- A deleted row is no obstacle, nor one that was undone.
DELETE FROM p WHERE id = 30;
INSERT INTO p VALUES (31, 'ff00000000000001');
BEGIN;
INSERT INTO p VALUES (40, '00ffff0000000000');
SAVEPOINT a;
INSERT INTO p VALUES (41, '0000ffff00000000');
ROLLBACK TO a;
INSERT INTO p VALUES (42, '0000ffff00000001');
ROLLBACK;
INSERT INTO p VALUES (43, '0000ffff00000003');
VACUUM p;
INSERT INTO p VALUES (44, '0000ffff00000002');
SELECT mih_check('mih_p') >= count(*) AS checked, count(*) FROM p;

-- The constraint's index serves the same condition in queries, and rechecks it.
SET enable_seqscan = off;
EXPLAIN (COSTS off) SELECT id FROM p WHERE hashball(code, 4) <@> '<000000000000000f,4>';
SELECT id FROM p WHERE hashball(code, 4) <@> '<000000000000000f,4>' ORDER BY id;
SELECT id FROM p WHERE hashball(code, 4) <@> '<000000000000000f,64>' ORDER BY id;
SET enable_indexscan = off;
EXPLAIN (COSTS off) SELECT id FROM p WHERE hashball(code, 4) <@> '<000000000000000f,64>';
SELECT id FROM p WHERE hashball(code, 4) <@> '<000000000000000f,64>' ORDER BY id;
RESET enable_indexscan;
SELECT id FROM p WHERE hashball(code, 4) IS NULL ORDER BY id;
RESET enable_seqscan;

-- Checked at the end of the statement, or of the transaction.
CREATE TABLE later (id int, code hashcode(16),
	CONSTRAINT mih_later EXCLUDE USING mih (hashball(code, 1) WITH <@>) DEFERRABLE INITIALLY DEFERRED);
INSERT INTO later VALUES (1, '0000'), (2, 'ffff');
BEGIN;
UPDATE later SET code = ~ code;
INSERT INTO later VALUES (3, '0001');
DELETE FROM later WHERE code = '0000';
COMMIT;
BEGIN;
INSERT INTO later VALUES (4, '0003');
SET CONSTRAINTS ALL IMMEDIATE;
ROLLBACK;
BEGIN;
INSERT INTO later VALUES (4, '0003');
COMMIT;
SELECT * FROM later ORDER BY id;

-- Rows with radii of their own; a condition; other types; conflicts found when
-- the constraint is added.
CREATE TABLE mixed (id int, code hashcode(32), r int, album int);
INSERT INTO mixed VALUES (1, '00000000', 10, 1), (2, '000000ff', 4, 1), (3, '0000ffff', 2, 1), (4, '0000fffe', 0, 2);
ALTER TABLE mixed ADD CONSTRAINT mih_mixed EXCLUDE USING mih (hashball(code, r) WITH <@>);
INSERT INTO mixed VALUES (5, '000000fe', 1, 1);
INSERT INTO mixed VALUES (5, '000000fe', 0, 1);
ALTER TABLE mixed ADD CONSTRAINT mih_all EXCLUDE USING mih (hashball(code, 3) WITH <@>);
ALTER TABLE mixed ADD CONSTRAINT mih_album EXCLUDE USING mih (hashball(code, 0) WITH <@>) WHERE (album = 1);
INSERT INTO mixed VALUES (6, '0000fffe', 0, 2);
CREATE TABLE others (id int, b bit(32), i bigint, CONSTRAINT mih_ob EXCLUDE USING mih (hashball(b::hashcode, 2) WITH <@>),
	CONSTRAINT mih_oi EXCLUDE USING mih (hashball(i::hashcode, 2) WITH <@>));
INSERT INTO others VALUES (1, x'00000000', 0), (2, x'0000000f', 7);
INSERT INTO others VALUES (3, x'000000ff', 8);
INSERT INTO others VALUES (3, x'00000001', 255);

-- What cannot be said.
CREATE TABLE wrong (code hashcode(8), EXCLUDE USING mih (code WITH <~>));
CREATE TABLE wrong (code hashcode(8), EXCLUDE USING mih (code WITH =));
CREATE TABLE wrong (code hashcode(8), id int, EXCLUDE USING mih (hashball(code, 1) WITH <@>, id WITH =));
CREATE TABLE wrong (code hashcode(8), UNIQUE (code));
ALTER TABLE wrong ADD CONSTRAINT u EXCLUDE USING mih (hashball(code, -1) WITH <@>);
INSERT INTO wrong VALUES ('00');

-- Against the definition, on random codes with many near one another: what gets in
-- by the constraint is what gets in by looking at every row.
CREATE TABLE by_hand (id int, code hashcode(24));
CREATE TABLE by_index (id int, code hashcode(24), CONSTRAINT mih_greedy EXCLUDE USING mih (hashball(code, 3) WITH <@>) WITH (pending_pages = 1, chunks = 3));
CREATE FUNCTION greedy() RETURNS void LANGUAGE plpgsql AS $$
DECLARE
	c hashcode;
BEGIN
	FOR i IN 1 .. 1500 LOOP
		c := near(code(24, (i % 200)::text), i % 7, i::text);
		INSERT INTO by_hand SELECT i, c WHERE NOT EXISTS (SELECT FROM by_hand h WHERE h.code <~> c <= 3);
		INSERT INTO by_index VALUES (i, c) ON CONFLICT DO NOTHING;
	END LOOP;
END $$;
SELECT greedy();
SELECT count(*) > 100 AS many, (SELECT array_agg(id ORDER BY id) FROM by_hand) = (SELECT array_agg(id ORDER BY id) FROM by_index) AS same FROM by_index;
SELECT mih_check('mih_greedy') >= count(*) AS checked FROM by_index;
REINDEX INDEX mih_greedy;
REINDEX INDEX CONCURRENTLY mih_greedy;
DROP SCHEMA mih_test CASCADE;
