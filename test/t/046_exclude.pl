# A near-duplicate constraint under many sessions: whatever they insert, delete,
# move, flush and vacuum at once, no two rows that stay are near one another, and a
# row is refused only for a reason.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use Deephash;
use Test::More;

my $server = new_server('exclude', conf => "deadlock_timeout = 20ms\nautovacuum = off\nfsync = off\n");
plan skip_all => 'there is no pgbench' unless grep { -x "$_/pgbench" } split /:/, $ENV{PATH};
$server->safe_psql('postgres', <<'SQL');
CREATE TABLE t (id bigserial, code hashcode(32), r int, CONSTRAINT mih_t EXCLUDE USING mih (hashball(code, r) WITH <@>)
	WITH (pending_pages = 1, chunks = 2)) WITH (vacuum_truncate = off);
CREATE TABLE tried (result text);
-- A code within a few bits of one of 64 centres: most of them collide.
CREATE FUNCTION draw(a int, b int, c int) RETURNS hashcode LANGUAGE sql IMMUTABLE AS $$
	SELECT hashcode((hashint4(a % 64)::bit(32) # (1 << (b % 32))::bit(32) # (1 << (c % 32))::bit(32)))
$$;
CREATE FUNCTION try(c hashcode, r int) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
	INSERT INTO t (code, r) VALUES (c, r);
	INSERT INTO tried VALUES ('taken');
EXCEPTION WHEN exclusion_violation OR deadlock_detected THEN
	INSERT INTO tried VALUES (SQLSTATE);
END $$;
CREATE FUNCTION move(c hashcode) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
	UPDATE t SET code = c WHERE id = (SELECT id FROM t ORDER BY t.code <~> c LIMIT 1);
	INSERT INTO tried VALUES ('moved');
EXCEPTION WHEN exclusion_violation OR deadlock_detected THEN
	INSERT INTO tried VALUES (SQLSTATE);
END $$;
SQL

my $set = "\\set a random(1, 1000000)\n\\set b random(0, 1000)\n\\set c random(0, 1000)\n\\set r random(3, 5)\n";
my %script = (
	nothing => "INSERT INTO t (code, r) VALUES (draw(:a, :b, :c), :r) ON CONFLICT DO NOTHING;",
	try => "SELECT try(draw(:a, :b, :c), :r);",
	held => "BEGIN;\nSELECT try(draw(:a, :b, :c), :r);\nSELECT try(draw(:b, :c, :a), :r);\nEND;",
	undone => "BEGIN;\nSELECT try(draw(:a, :b, :c), :r);\nROLLBACK;",
	move => "SELECT move(draw(:a, :b, :c));",
	gone => "DELETE FROM t WHERE code <@ hashball(draw(:a, :b, :c), 2);",
	flush => "SELECT mih_flush('mih_t');",
	vacuum => "VACUUM t;");
my %weight = (nothing => 40, try => 40, held => 20, undone => 10, move => 20, gone => 15, flush => 2, vacuum => 1);
my @files;
for my $name (sort keys %script)
{
	my $path = "$ENV{TESTDIR}/$name.sql";
	open my $f, '>', $path or die "cannot write $path: $!\n";
	print $f $set, $script{$name}, "\n";
	close $f;
	push @files, '-f', "$path\@$weight{$name}";
}
for my $round (1 .. 3)
{
	$server->command_ok([ 'pgbench', '-n', '-c', 6, '-j', 2, '-t', 400, @files, $server->connstr('postgres') ],
		"round $round: six sessions with 400 transactions each");
	is($server->safe_psql('postgres', <<'SQL'), '0', "round $round: no two rows are near");
SET enable_indexscan = off; SET enable_bitmapscan = off;
SELECT count(*) FROM t a JOIN t b ON a.id < b.id AND a.code <~> b.code <= least(a.r, b.r);
SQL
	is($server->safe_psql('postgres', <<'SQL'), 't', "round $round: index and table agree");
SELECT mih_check('mih_t', true) >= count(*) FROM t;
SQL
}
my %seen = map { split /\|/ } split /\n/, $server->safe_psql('postgres', 'SELECT result, count(*) FROM tried GROUP BY 1');
note(join ', ', map { "$_: $seen{$_}" } sort keys %seen);
ok($seen{taken} > 20 && $seen{'23P01'} > 20, 'rows were taken and refused');
# A row far from all others is never refused, one beside another always.
is( $server->safe_psql('postgres', <<'SQL'), 't', 'refused are exactly the near ones');
CREATE TEMP TABLE asked AS SELECT g, draw(g, g * 3, g * 7) AS code FROM generate_series(1, 300) g;
ALTER TABLE asked ADD near boolean, ADD refused boolean;
UPDATE asked SET near = EXISTS (SELECT FROM t WHERE t.code <~> asked.code <= least(t.r, 4));
DO $$
DECLARE
	a record;
BEGIN
	FOR a IN SELECT * FROM asked LOOP
		BEGIN
			INSERT INTO t (code, r) VALUES (a.code, 4);
			UPDATE asked SET refused = false WHERE g = a.g;
			RAISE EXCEPTION 'undo';
		EXCEPTION WHEN exclusion_violation THEN
			UPDATE asked SET refused = true WHERE g = a.g;
		WHEN raise_exception THEN
			UPDATE asked SET refused = false WHERE g = a.g;
		END;
	END LOOP;
END $$;
SELECT bool_and(near = refused) AND count(*) FILTER (WHERE near) > 20 FROM asked;
SQL
unlike(server_log($server), qr/PANIC|TRAP:|was terminated by signal/, 'no crash in the log');
$server->stop;
done_testing();
