# CALL deephash_encode_table beside others who write: rows that they hold are left alone
# and not waited for, rows that they change are looked for again, at any isolation; the
# view shows it from the start, and a crash leaves nothing in it.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use Deephash;
use EncoderTest;
use Test::More;

my $server = new_server('main', conf => "shared_preload_libraries = 'deephash'\ndeephash.engine_timeout = 0\n");
load_models($server);
my $red = image_sql('red');
my $green = image_sql('green');
$server->safe_psql('postgres', "CREATE TABLE photo (id int, part int, data bytea, code hashcode(64)) PARTITION BY LIST (part);
	CREATE TABLE photo1 PARTITION OF photo FOR VALUES IN (1); CREATE TABLE photo2 PARTITION OF photo FOR VALUES IN (2);
	INSERT INTO photo SELECT i, 1, $red FROM generate_series(1, 20) i");
my $pid = engine_pid($server);
my $call = "CALL deephash_encode_table('photo', 'data', 'code', 'm64', batch => 5)";
# Without a wait for others' locks there is nothing that this could cut short.
my $timeout = "SET lock_timeout = '30s'";

# ----------------------------------------------------------- rows that others hold
my $holder = start_session($server);
talk($holder, 'BEGIN; UPDATE photo SET part = 2 WHERE id = 3; SELECT count(*) FROM (SELECT FROM photo WHERE id = 11 FOR UPDATE) p;');
my (undef, undef, $notice) = $server->psql('postgres', "$timeout; $call");
like($notice, qr/NOTICE:  public.photo: 18 codes made, 0 images refused.*DETAIL:  2 rows have no code yet: others hold or change them.*HINT:  CALL it again/s, 'rows that others hold are left out, and told of');
is(missing(), '3 11', '... only they');
talk($holder, 'COMMIT;');
(undef, undef, $notice) = $server->psql('postgres', "$timeout; $call");
like($notice, qr/NOTICE:  public.photo: 2 codes made, 0 images refused, [^\n]*$/, 'another call makes their codes');
is(missing() . wrong(), '', '... also in another partition');

# ------------------------------------------------- rows that others change meanwhile
for my $isolation ('read committed', 'repeatable read', 'serializable')
{
	$server->safe_psql('postgres', "UPDATE photo SET code = NULL, data = $red");
	kill 'STOP', $pid;
	$server->safe_psql('postgres', "ALTER DATABASE postgres SET default_transaction_isolation = '$isolation'");
	my $waiting = start_query($server, $call);
	ok(wait_until_waiting($server), "$isolation: it waits for its first batch");
	is($server->safe_psql('postgres', 'SELECT relid::regclass, rows_total, rows_done FROM deephash_progress'), 'photo|20|0', '... and is in the view');
	$server->safe_psql('postgres', "UPDATE photo SET data = $green WHERE id % 4 = 0; UPDATE photo SET part = 3 - part WHERE id % 5 = 0; DELETE FROM photo WHERE id = 7; INSERT INTO photo VALUES (7, 2, $green)");
	kill 'CONT', $pid;
	my ($out, $told) = finish_query($waiting);
	like($told, qr/NOTICE:  public.photo: 20 codes made, 0 images refused, [^\n]*$/, '... and makes all codes');
	is(missing() . wrong(), '', '... of the images that are there');
}
is($server->safe_psql('postgres', "CREATE PROCEDURE encode_and_look() LANGUAGE plpgsql AS \$\$ BEGIN $call; PERFORM set_config('test.seen', current_setting('transaction_isolation'), false); END \$\$;
	ALTER DATABASE postgres RESET default_transaction_isolation; SET default_transaction_isolation = 'repeatable read'; SET client_min_messages = warning; CALL encode_and_look(); SHOW test.seen"), 'repeatable read', 'a procedure goes on as it was asked to');

# --------------------------------------------------------------- what a crash leaves
$server->safe_psql('postgres', 'UPDATE photo SET code = NULL');
kill 'STOP', $pid;
my $lost = start_query($server, $call);
ok(wait_until_waiting($server), 'it waits again');
my $reports = $server->data_dir . '/pgsql_tmp.deephash/progress.*';
is(scalar(() = glob $reports), 1, 'its report is a file');
kill_server($server);
eval { finish_query($lost) };
kill 'CONT', $pid;
$server->start;
ok(wait_until(sub { !(() = glob $reports) }), 'a crash leaves no report behind');
$server->safe_psql('postgres', "SET client_min_messages = warning; $call");
is(missing() . wrong(), '', 'another call does what is left');
$server->stop;
done_testing();

sub missing
{
	return $server->safe_psql('postgres', "SELECT string_agg(id::text, ' ' ORDER BY id) FROM photo WHERE code IS NULL");
}

sub wrong
{
	return $server->safe_psql('postgres', "SELECT string_agg(id::text, ' ' ORDER BY id) FROM photo WHERE code <> deephash_encode(data, 'm64')");
}
