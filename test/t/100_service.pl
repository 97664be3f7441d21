# The encoder's engine started on first use: several sessions at once, deaths,
# cancellation, timeouts, and the library's own links.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use Deephash;
use EncoderTest;
use Test::More;

my $server = new_server('main', conf => "log_min_messages = info\ndeephash.engine_timeout = 0\n");
my $red = image_sql('red');
my $green = image_sql('green');

# ------------------------------------------------------------- what is linked
chomp(my $pkglibdir = `pg_config --pkglibdir`); # of the private tree, which leads PATH
my $library = "$pkglibdir/deephash.so";
my $needed = `readelf -d '$library'`;
like($needed, qr/NEEDED/, 'readelf reads the library');
unlike($needed, qr/NEEDED.*(blas|jpeg|jansson|cuda|gomp|pthread_)/i, 'the library links no decoder, no BLAS, no CUDA');
my $symbols = `nm -D --undefined-only '$library'`;
unlike($symbols, qr/\b(jpeg_|cblas_|json_loadb|cuInit|dlopen)/, '... nor calls any');

# ------------------------------------------------- the first use, by many at once
is(scalar engines($server), 0, 'no engine before the first use');
my @first = map { start_query($server, 'SELECT deephash_ping() FROM pg_sleep(0.1)') } 1 .. 8;
is(join('', map { (finish_query($_))[0] } @first), 't' x 8, 'eight sessions at once start it');
is(scalar engines($server), 1, 'one engine');
my $supervisors = () = server_log($server) =~ /ready on device/g;
is($supervisors, 1, 'started once');
load_models($server);
my $dir = $server->data_dir . '/pgsql_tmp.deephash';
is(sprintf('%o', (stat $dir)[2] & 07777), '700', 'its folder is closed');
is(sprintf('%o', (stat "$dir/engine.sock")[2] & 07777), '600', 'its socket is closed');
my $pid = engine_pid($server);
is(join(' ', engines($server)), $pid, 'the view names its process');
open my $limits, '<', "/proc/$pid/limits";
like(join('', <$limits>), qr/^Max core file size\s+0\s+0/m, 'it dumps no core');
my $status = do { local $/; open my $f, '<', "/proc/$pid/status"; <$f> };
like($status, qr/^NoNewPrivs:\s+1$/m, 'it can gain no privileges');
like($status, qr/^Seccomp:\s+2$/m, 'it runs in the sandbox');
my $sandbox = $server->safe_psql('postgres', 'SELECT sandbox FROM deephash_service');
like($sandbox, qr/^system calls(, files$|; files are open to it, as )/, 'the view tells what is active of it');
like(server_log($server), qr/deephash-encoder \(PID $pid\): sandbox: \Q$sandbox\E$/m, '... and so does the log');

my $code = $server->safe_psql('postgres', "SELECT deephash_encode($red, 'm64')");
like($code, qr/^[0-9a-f]{16}$/, 'encodes');

# --------------------------------------------------------------- sudden deaths
for my $signal (qw(KILL SEGV ABRT))
{
	my $other = start_session($server);
	my $backend = talk($other, "BEGIN; CREATE TEMP TABLE t (x hashcode); INSERT INTO t VALUES ('ab'); SELECT pg_backend_pid();");
	my $pid = engine_pid($server);
	kill 'STOP', $pid;
	my $query = start_query($server, "SELECT deephash_encode($red, 'm64')");
	ok(wait_until_waiting($server), "$signal: a session waits");
	kill $signal, $pid;
	kill 'CONT', $pid;
	my ($out, $err) = finish_query($query);
	is($out, '', "$signal: no code");
	like($err, qr/ERROR:  deephash-encoder died while it worked on this request.*HINT:  The server log/s, "$signal: the waiting session hears of it");
	is($server->safe_psql('postgres', "SELECT deephash_encode($red, 'm64')"), $code, "$signal: the next call works");
	isnt(engine_pid($server), $pid, "$signal: by another engine");
	is(talk($other, 'SELECT x, pg_backend_pid() FROM t; COMMIT;'), "ab|$backend", "$signal: the other session's transaction goes on");
	end_session($other);
}
like(server_log($server), qr/deephash-encoder \(PID \d+\) ended: .*signal 11/, 'the log says why');
unlike(server_log($server), qr/terminating any other active server processes|all server processes terminated/, 'the server never restarted');

# ------------------------------------------------------ cancellation and timeouts
$pid = engine_pid($server);
kill 'STOP', $pid;
my $query = start_query($server, "SELECT deephash_encode($red, 'm64')");
ok(wait_until_waiting($server), 'a session waits for a stopped engine');
$server->safe_psql('postgres', "SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE query LIKE 'SELECT deephash_encode%'");
my ($out, $err) = finish_query($query);
like($err, qr/canceling statement due to user request/, 'the query can be cancelled');
(undef, $out, $err) = $server->psql('postgres', "SET statement_timeout = '200ms'; SELECT deephash_encode($red, 'm64')");
like($err, qr/canceling statement due to statement timeout/, 'statement_timeout holds');
(undef, $out, $err) = $server->psql('postgres', "SET deephash.encode_timeout = '150ms'; SELECT deephash_encode($red, 'm64')");
like($err, qr/no answer from deephash-encoder within 150 ms/, 'deephash.encode_timeout holds');
(undef, $out, $err) = $server->psql('postgres', "SET deephash.encode_timeout = '150ms';
	DO \$\$ BEGIN PERFORM deephash_encode($red, 'm64'); EXCEPTION WHEN system_error THEN RAISE NOTICE 'caught'; END \$\$;");
like($err, qr/caught/, '... as an error that can be caught');
my $killed = start_query($server, "SELECT deephash_encode($red, 'm64')");
ok(wait_until_waiting($server), 'another one waits');
$server->safe_psql('postgres', "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE 'SELECT deephash_encode%'");
finish_query($killed);
kill 'CONT', $pid;
is($server->safe_psql('postgres', "SELECT deephash_encode($red, 'm64')"), $code, 'then it works again');
is(engine_pid($server), $pid, '... by the same engine');
ok(wait_until(sub { $server->safe_psql('postgres', 'SELECT clients FROM deephash_service') == 1 }), 'nobody is left behind in the engine');

# ----------------------------------------------------------- many sessions, batches
my $green_code = $server->safe_psql('postgres', "SELECT deephash_encode($green, 'm64')");
my ($images, $batches) = split /\|/, $server->safe_psql('postgres', 'SELECT images, batches FROM deephash_service');
kill 'STOP', $pid;
my @queries = map { start_query($server, "SELECT deephash_encode(" . ($_ % 2 ? $red : $green) . ", 'm64')") } 1 .. 12;
ok(wait_until_waiting($server, 12), 'twelve sessions wait');
kill 'CONT', $pid;
my @codes = map { (finish_query($_))[0] } @queries;
is(join(' ', @codes), join(' ', map { $_ % 2 ? $code : $green_code } 1 .. 12), 'each gets its own code');
my ($images2, $batches2) = split /\|/, $server->safe_psql('postgres', 'SELECT images, batches FROM deephash_service');
is($images2 - $images, 12, 'twelve images');
cmp_ok($batches2 - $batches, '<=', 12, 'in no more batches');

# ------------------------------------------------------------------- the cache
my ($file) = glob "$dir/*.model";
ok($file, 'models lie in the cache');
unlink glob "$dir/*.model";
kill_engine($server);
is($server->safe_psql('postgres', "SELECT deephash_encode($red, 'm64')"), $code, 'a lost cache file comes back');
($file) = glob "$dir/*.model";
open my $f, '+<', $file;
seek $f, 5, 0;
print $f 'XX';
close $f;
kill_engine($server);
ok(wait_until(sub { my @e = engines($server); @e == 1 && engine_pid($server) }), 'an engine is there');
is($server->safe_psql('postgres', "SELECT deephash_encode($red, 'm64')"), $code, 'a damaged one is noticed and replaced');

# --------------------------------------------------------------------- leaving
$server->safe_psql('postgres', 'DROP EXTENSION deephash');
$server->safe_psql('postgres', 'CREATE EXTENSION deephash');
is($server->safe_psql('postgres', 'SELECT count(*) FROM deephash_models'), '0', 'dropped and created again: empty');
$server->stop;
ok(wait_until(sub { !engines($server) }), 'the engine goes with the server');
unlike(server_log($server), qr/PANIC|TRAP/, 'the log is clean');
done_testing();
