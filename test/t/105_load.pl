# The service under load: many sessions, cancellations, killed backends, a full queue,
# a model replaced, the extension dropped, a bulk encoding stopped and taken up again;
# afterwards the engine holds no more threads, files and sockets than before.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use Deephash;
use EncoderTest;
use Test::More;

my $server = new_server('main', conf => "shared_preload_libraries = 'deephash'\nmax_connections = 60\ndeephash.engine_timeout = 0\n"
	  # Else it would keep its open files to itself.
	  . "deephash.core_dumps = on\n");
load_models($server);
my @name = qw(red green large);
my %sql = map { $_ => image_sql($_) } @name;

# The codes by the program that trains, without any server.
my %code;
for my $name (@name)
{
	my $line = `'${\ top()}/build/bin/deephash-train' encode --model '${\ fixture('tiny64.safetensors')}' '${\ fixture("$name.jpg")}'`;
	($code{$name}) = $line =~ /\t([0-9a-f]{16})$/m;
}
for my $name (@name)
{
	is($server->safe_psql('postgres', "SELECT deephash_encode($sql{$name}, 'm64')"), $code{$name}, "$name: the code of deephash-train encode");
}
my $pid = engine_pid($server);
my %before = holdings();
# More models need more memory, but no more threads and files.
load_all_models();
holds_no_more('with three models in memory');

# ------------------------------------------------------------------ many sessions
$server->safe_psql('postgres', "CREATE TABLE picture AS SELECT i, (ARRAY['red', 'green', 'large'])[1 + i % 3] AS name,
	(ARRAY[$sql{red}, $sql{green}, $sql{large}])[1 + i % 3] AS data FROM generate_series(1, 60) i");
my $all = "SELECT count(*), count(DISTINCT c) FROM (SELECT name, deephash_encode(data, 'm64') c FROM picture WHERE i <= 12) p
	WHERE c = CASE name WHEN 'red' THEN '$code{red}' WHEN 'green' THEN '$code{green}' ELSE '$code{large}' END::hashcode";
my @queries = map { start_query($server, $all) } 1 .. 32;
my @answers = map { [ finish_query($_) ] } @queries;
is(join(' ', map { $_->[0] } @answers), join(' ', ('12|3') x 32), '32 sessions: each gets its codes');
is(join('', map { $_->[1] } @answers), '', '... without a word');

# While many sessions wait, the thread that reads requests lets the others compute.
SKIP:
{
	skip 'this session has a scheduling policy of its own', 7 if policy($$) != 0;
	set('deephash.encoder_threads = 1');
	$pid = engine_pid($server);
	@queries = map { start_query($server, "DO \$\$ BEGIN LOOP
		PERFORM deephash_encode_array((SELECT array_agg(data) FROM picture), 'm64'); END LOOP; END \$\$") } 1 .. 6;
	ok(wait_until(sub { policy($pid) == 3 }), 'the serving thread is patient under load (SCHED_BATCH)');
	my $loops = "FROM pg_stat_activity WHERE query LIKE 'DO%' AND state = 'active'";
	ok(wait_until(sub { $server->safe_psql('postgres', "SELECT count(*) $loops") == 6 }), '... of six sessions');
	$server->safe_psql('postgres', "SELECT pg_cancel_backend(pid) $loops");
	is(scalar(grep { (finish_query($_))[1] =~ /canceling statement/ } @queries), 6, '... which is cancelled');
	ok(wait_until(sub { policy($pid) == 0 }), '... and not afterwards');
	set('deephash.encoder_threads = 2');
	$pid = engine_pid($server);
	load_all_models();
	%before = holdings();
}

# ----------------------------------------------------- a full queue, and who leaves it
kill 'STOP', $pid;
my $bulk = "SELECT count(*) FROM unnest(deephash_encode_array((SELECT array_agg(data) FROM picture), 'm64'))";
@queries = map { start_query($server, $bulk) } 1 .. 12;
ok(wait_until_waiting($server, 12), 'twelve sessions with sixty images each wait');
$server->safe_psql('postgres', "SELECT pg_cancel_backend(pid) FROM (SELECT pid FROM pg_stat_activity
	WHERE query LIKE 'SELECT count(*) FROM unnest(deephash_encode%' ORDER BY pid LIMIT 4) p");
ok(wait_until(sub { (grep { $_->{err} =~ /canceling/ } map { eval { $_->{handle}->pump_nb }; $_ } @queries) >= 4 }), 'four are cancelled while the engine stands still');
$server->safe_psql('postgres', "SELECT pg_terminate_backend(pid) FROM (SELECT pid FROM pg_stat_activity
	WHERE query LIKE 'SELECT count(*) FROM unnest(deephash_encode%' AND state = 'active' ORDER BY pid LIMIT 4) p");
kill 'CONT', $pid;
@answers = map { [ finish_query($_) ] } @queries;
is(scalar(grep { $_->[1] =~ /canceling statement due to user request/ } @answers), 4, 'four heard of their cancellation');
is(scalar(grep { $_->[1] =~ /terminating connection due to administrator command/ } @answers), 4, 'four were terminated');
is(scalar(grep { $_->[0] eq '60' } @answers), 4, 'four got all codes');
is(engine_pid($server), $pid, 'by the same engine');
holds_no_more('after cancellations and terminations');

# A buffer of four images at most: what does not fit waits in the sockets.
my $size = int((-s fixture('large.jpg')) / 1024) + 1;
set("deephash.max_image_size = '${size}kB'");
$pid = engine_pid($server);
@queries = map { start_query($server, $bulk) } 1 .. 6;
is(join(' ', map { (finish_query($_))[0] } @queries), join(' ', (60) x 6), 'a full buffer only slows down');
set("deephash.max_image_size = '64MB'");
$pid = engine_pid($server);
load_all_models();
%before = holdings();

# -------------------------------------------------------- a model replaced under load
my $loop = "DO \$\$ DECLARE c hashcode; BEGIN FOR i IN 1 .. 60 LOOP
	c := deephash_encode($sql{red} || ''::bytea, 'm16');
	IF length(c) <> 16 THEN RAISE EXCEPTION 'a code of % bits', length(c); END IF; END LOOP; END \$\$";
@queries = map { start_query($server, $loop) } 1 .. 4;
for my $file (qw(other16 tiny16) x 3)
{
	$server->safe_psql('postgres', "BEGIN; SELECT deephash_drop_model('m16'); SELECT deephash_load_model('m16', '" . fixture("$file.safetensors") . "'); COMMIT");
}
@answers = map { [ finish_query($_) ] } @queries;
is(join('', map { $_->[1] } @answers), '', 'a model is replaced six times while four sessions use it');
is(engine_pid($server), $pid, '... by the same engine');
holds_no_more('after models came and went');

# --------------------------------------------- a bulk encoding, stopped and taken up
$server->safe_psql('postgres', "CREATE TABLE album AS SELECT row_number() OVER () AS n, name, data, NULL::hashcode(64) AS code FROM picture, generate_series(1, 10);
	CREATE FUNCTION hold() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM pg_advisory_xact_lock_shared(1); RETURN NEW; END';
	CREATE TRIGGER hold BEFORE UPDATE ON album FOR EACH ROW WHEN (NEW.n = 300 AND NEW.code IS NOT NULL) EXECUTE FUNCTION hold()");
for my $how (qw(pg_cancel_backend pg_terminate_backend))
{
	$server->safe_psql('postgres', 'UPDATE album SET code = NULL');
	my $call = stop_half_way();
	cmp_ok($server->safe_psql('postgres', 'SELECT count(code) FROM album'), '>', 0, "$how: some codes are committed");
	my $seen = $server->safe_psql('postgres', "SELECT p.datname, p.relid::regclass, p.model, p.rows_total FROM deephash_progress p");
	$server->safe_psql('postgres', "SELECT $how(pid) FROM pg_stat_activity WHERE query LIKE 'CALL deephash%' AND state = 'active'");
	my (undef, $err) = finish_query($call);
	kill 'CONT', $pid;
	my ($left, $done) = split /\|/, $server->safe_psql('postgres', 'SELECT count(*) - count(code), count(code) FROM album');
	is($seen, 'postgres|album|m64|600', "$how: the view showed it");
	like($err, qr/canceling statement due to user request|terminating connection/, "$how: it was stopped");
	is($done % 5, 0, "$how: whole batches are kept");
	cmp_ok($left, '>', 0, "$how: and not all of them");
	is($server->safe_psql('postgres', 'SELECT count(*) FROM deephash_progress'), '0', "$how: the view forgets it");
	(undef, my $out, my $notice) = $server->psql('postgres', "CALL deephash_encode_table('album', 'data', 'code', 'm64')");
	like($notice, qr/NOTICE:  public.album: $left codes made, 0 images refused/, "$how: another call makes the rest");
	is($server->safe_psql('postgres', "SELECT count(*) FROM album WHERE code = CASE name WHEN 'red' THEN '$code{red}' WHEN 'green' THEN '$code{green}' ELSE '$code{large}' END::hashcode"), '600', "$how: all codes are right");
}
# One that takes long tells how it gets on.
$server->safe_psql('postgres', 'UPDATE album SET code = NULL');
my $long = stop_half_way();
select undef, undef, undef, 10.5;
like($server->safe_psql('postgres', 'SELECT rows_per_second > 0, time_left > interval \'0\', rows_done BETWEEN 1 AND 599 FROM deephash_progress'), qr/^t\|t\|t$/, '... the view tells its rate and the time left');
kill 'CONT', $pid;
my (undef, $notices) = finish_query($long);
like($notices, qr/NOTICE:  public.album: \d+ of 600 rows, [\d.]+ rows\/s, .+ left\n/, '... and so does a NOTICE every ten seconds');
like($notices, qr/NOTICE:  public.album: 600 codes made, 0 images refused/, '... and one at its end');
holds_no_more('after bulk encodings');

# ------------------------------------------------------------- dropped while busy
$server->safe_psql('postgres', 'CREATE TABLE plain AS SELECT data FROM picture');
@queries = map { start_query($server, "SELECT count(*) FROM unnest(deephash_encode_array((SELECT array_agg(data) FROM plain), 'm64'))") } 1 .. 4;
my (undef, undef, $error) = $server->psql('postgres', "SET lock_timeout = '600s'; DROP EXTENSION deephash CASCADE");
@answers = map { [ finish_query($_) ] } @queries;
is(scalar(grep { $_->[0] eq '60' || $_->[1] =~ /^ERROR:  / } @answers), 4, 'dropped while busy: each session gets its codes or an error');
unlike(join('', map { $_->[1] } @answers), qr/server closed the connection/, '... and none its end');
unlike($error, qr/ERROR/, '... and it is dropped');
$server->safe_psql('postgres', 'CREATE EXTENSION deephash');
load_models($server);
is($server->safe_psql('postgres', "SELECT deephash_encode($sql{red}, 'm64')"), $code{red}, 'created again, it encodes');
is(engine_pid($server), $pid, '... by the same engine');
holds_no_more('after all');
$server->stop;
ok(wait_until(sub { !engines($server) }), 'the engine goes with the server');
unlike(server_log($server), qr/PANIC|TRAP|terminating any other active server processes|\(PID $pid\) ended/, 'the log tells of no death');
done_testing();

# Have all models in memory that will be used.
sub load_all_models
{
	$server->safe_psql('postgres', "SELECT deephash_load_model('other', '" . fixture('other16.safetensors') . "')") unless $server->safe_psql('postgres', "SELECT count(*) FROM deephash_models WHERE name = 'other'");
	$server->safe_psql('postgres', "SELECT deephash_encode($sql{red}, name::text) FROM deephash_models");
	is($server->safe_psql('postgres', 'SELECT count(*) FROM deephash_service_models'), '3', 'three models are in memory');
}

# Threads, and open files and sockets, of the engine, and what it says it has.
sub holdings
{
	my @tasks = glob "/proc/$pid/task/*";
	opendir my $dir, "/proc/$pid/fd" or die "/proc/$pid/fd: $!";
	my @files = readdir $dir;
	my %now = (threads => scalar @tasks, files => scalar @files);
	($now{clients}, $now{queued}, $now{buffered}) = split /\|/, $server->safe_psql('postgres', 'SELECT clients, queued, buffered FROM deephash_service');
	return %now;
}

sub holds_no_more
{
	my ($when) = @_;
	my %now;
	ok(wait_until(sub {
		%now = holdings();
		return !grep { $now{$_} > $before{$_} } keys %before;
	}), "$when: no thread, file, socket or buffer is left over")
	  or diag join ' ', map { "$_ $before{$_}->$now{$_}" } sort keys %now;
}

# A bulk encoding of the album that waits for the engine, stopped, in the middle: a
# trigger holds it up until then.
sub stop_half_way
{
	my $holder = start_session($server);
	talk($holder, 'BEGIN; SELECT pg_advisory_xact_lock(1);');
	my $call = start_query($server, "CALL deephash_encode_table('album', 'data', 'code', 'm64', batch => 5)");
	ok(wait_until(sub { $server->safe_psql('postgres', "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE 'CALL deephash%'") == 1 }), 'a bulk encoding has come half way');
	select undef, undef, undef, 1.2;    # the view is written once a second
	kill 'STOP', $pid;
	talk($holder, 'COMMIT;');
	end_session($holder);
	ok(wait_until_waiting($server), '... and waits for the engine');
	return $call;
}

# The scheduling policy of a process's first thread: 0 SCHED_OTHER, 3 SCHED_BATCH.
sub policy
{
	my ($of) = @_;
	return (split ' ', read_proc("$of/stat") =~ s/^.*\) //sr)[38];
}

# Another engine by other settings.
sub set
{
	my ($setting) = @_;
	my $old = engine_pid($server);
	$server->append_conf('postgresql.conf', $setting);
	$server->reload;
	ok(wait_until(sub { my $now = eval { engine_pid($server) }; $now && $now != $old }), "$setting: another engine");
}
