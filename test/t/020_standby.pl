# A streaming standby gives the primary's answers while the primary inserts,
# vacuums, flushes and rebuilds, and after it is promoted.  Every record of
# generic WAL is compared with the page it should make.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use Deephash;
use Test::More;

my $seed = $ENV{DEEPHASH_SEED} || time % 1_000_000;
srand($seed);
diag("seed $seed");

my $conf = <<'CONF';
autovacuum = off
wal_consistency_checking = 'generic'
hot_standby_feedback = on
log_statement = none
CONF
my $primary = new_server('primary', streaming => 1, conf => $conf);
$primary->safe_psql('postgres', <<'SQL');
CREATE TABLE photo (id bigserial, code hashcode(64));
CREATE FUNCTION draw() RETURNS hashcode LANGUAGE sql VOLATILE AS $$
	SELECT (lpad(to_hex((random() * 2147483647)::int), 8, '0') || lpad(to_hex((random() * 40)::int), 8, '0'))::hashcode
$$;
CREATE INDEX mih_photo ON photo USING mih (code);
SQL
my $standby = new_standby($primary, 'standby', conf => $conf);

my @steps = (
	'INSERT INTO photo (code) SELECT draw() FROM generate_series(1, 3000)',
	"SELECT mih_flush('mih_photo')",
	'INSERT INTO photo (code) SELECT CASE WHEN random() < 0.9 THEN draw() END FROM generate_series(1, 700)',
	'UPDATE photo SET code = draw() WHERE id % 7 = 0',
	'DELETE FROM photo WHERE id % 5 = 0',
	'VACUUM photo',
	'INSERT INTO photo (code) SELECT draw() FROM generate_series(1, 5000)',
	"SELECT mih_flush('mih_photo')",
	'DELETE FROM photo WHERE id % 3 = 0; VACUUM photo',
	"SELECT mih_flush('mih_photo')",
	'REINDEX INDEX mih_photo',
	'REINDEX INDEX CONCURRENTLY mih_photo',
	'INSERT INTO photo (code) SELECT draw() FROM generate_series(1, 300)');
for my $step (@steps)
{
	$primary->safe_psql('postgres', $_) for split /; /, $step;
	$primary->wait_for_catchup($standby, 'replay', $primary->lsn('insert'));
	same_answers($step);
}

$standby->promote;
$standby->safe_psql('postgres', 'INSERT INTO photo (code) SELECT draw() FROM generate_series(1, 1000)');
is(answers($standby, 'index'), answers($standby, 'table'), 'promoted: it answers and takes rows');
is(($standby->psql('postgres', "SELECT mih_check('mih_photo', true)"))[0], 0, 'promoted: mih_check finds nothing');
unlike(server_log($standby), qr/FATAL: .*inconsistent page|PANIC|TRAP:/, 'every replayed page is as on the primary');
$_->stop for $primary, $standby;
done_testing();

sub answers
{
	my ($server, $way) = @_;
	my $set = $way eq 'index'
	  ? 'SET enable_seqscan = off; SET enable_sort = off;'
	  : 'SET enable_indexscan = off; SET enable_bitmapscan = off;';
	return $server->safe_psql('postgres', $set . join '', map { <<"SQL" } qw(0000000000000000 0000000700000007 7123abcd00000020));
SELECT md5(string_agg(d || ':' || id, ',' ORDER BY d, id)) FROM
	(SELECT id, coalesce(code <~> '$_', -1) AS d FROM photo ORDER BY code <~> '$_' OFFSET 0) s;
SELECT count(*), sum(id) FROM photo WHERE code <@ hashball('$_', 14);
SELECT string_agg(d::text, ' ') FROM (SELECT code <~> '$_' AS d FROM photo ORDER BY code <~> '$_' LIMIT 25) s;
SQL
}

sub same_answers
{
	my ($step) = @_;
	my $right = answers($primary, 'table');
	is(answers($primary, 'index'), $right, "primary after $step");
	is(answers($standby, 'index'), $right, "standby after $step");
}
