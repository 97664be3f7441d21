# An unlogged table is empty after a crash; its index must then be empty, sound
# and ready for new rows.  A clean stop keeps both.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use Deephash;
use Test::More;

my $server = new_server('unlogged', conf => "autovacuum = off\n");
$server->safe_psql('postgres', <<'SQL');
CREATE UNLOGGED TABLE photo (id bigserial, code hashcode(32));
CREATE INDEX mih_photo ON photo USING mih (code);
SQL
fill(2500);
$server->safe_psql('postgres', "SELECT mih_flush('mih_photo')");
fill(300);
compare(2800, 'before');
$server->restart;
compare(2800, 'after a clean restart');

kill_server($server);
$server->start;
compare(0, 'after a crash');
fill(1200);
$server->safe_psql('postgres', "DELETE FROM photo WHERE id % 4 = 0");
$server->safe_psql('postgres', "VACUUM photo");
$server->safe_psql('postgres', "SELECT mih_flush('mih_photo')");
compare(900, 'filled again');
$server->safe_psql('postgres', 'ALTER TABLE photo SET LOGGED');
compare(900, 'made permanent');
kill_server($server);
$server->start;
compare(900, 'permanent, after a crash');
$server->stop;
done_testing();

sub fill
{
	my ($n) = @_;
	$server->safe_psql('postgres', "INSERT INTO photo (code)
		SELECT lpad(to_hex((random() * 2147483647)::int), 8, '0')::hashcode FROM generate_series(1, $n)");
}

sub compare
{
	my ($rows, $when) = @_;
	my $query = "SELECT count(*), md5(string_agg(d || ':' || id, ',' ORDER BY d, id)) FROM
		(SELECT id, code <~> '12345678' AS d FROM photo ORDER BY code <~> '12345678' OFFSET 0) s";
	my $got = $server->safe_psql('postgres', "SET enable_seqscan = off; SET enable_sort = off; $query");
	like($got, qr/^$rows\|/, "$when: $rows rows");
	is($got, $server->safe_psql('postgres', "SET enable_indexscan = off; $query"), "$when: index and table agree");
	my ($status, undef, $err) = $server->psql('postgres', "SELECT mih_check('mih_photo', true)");
	is($status, 0, "$when: mih_check finds nothing") or diag($err);
}
