# The supervisor: preloaded, reloaded, without a working program, terminated; and
# sessions that find no free slot for it.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use Deephash;
use EncoderTest;
use Test::More;

my $server = new_server('main', conf => "shared_preload_libraries = 'deephash'\n");
my $red = image_sql('red');
chomp(my $pkglibdir = `pg_config --pkglibdir`); # of the private tree, which leads PATH
ok(wait_until(sub { engines($server) == 1 }), 'preloaded: the engine starts with the server');
ok(wait_until(sub { server_log($server) =~ /deephash-encoder \(PID \d+\): ready on device/ }), 'the log says that it is ready');
load_models($server);
my $code = $server->safe_psql('postgres', "SELECT deephash_encode($red)");

# --------------------------------------------------------------- other settings
my $pid = engine_pid($server);
reload("deephash.encode_timeout = '50s'");
is($server->safe_psql('postgres', 'SHOW deephash.encode_timeout'), '50s', 'reloaded');
is(engine_pid($server), $pid, 'a setting of sessions leaves the engine alone');
my $session = start_session($server);
is(talk($session, "SELECT deephash_encode($red);"), $code, 'a session is connected');
reload('deephash.batch_size = 7', 'deephash.encoder_threads = 3');
ok(wait_until(sub { server_log($server) =~ /3 threads, each with one image at a time/ }), 'settings of the engine give a new one');
is(talk($session, "SELECT deephash_encode($red);"), $code, 'the session does not notice');
isnt(engine_pid($server), $pid, 'it is another one');
is(scalar engines($server), 1, 'and the only one');
end_session($session);
is($server->safe_psql('postgres', 'SELECT device, precision FROM deephash_service'), 'cpu|float32', 'the CPU computes in float32');
$pid = engine_pid($server);
reload("deephash.precision = 'bf16'", 'deephash.cuda_graphs = off');
ok(wait_until(sub { engine_arguments() =~ /--precision=bf16 --no-graphs / }), 'what a GPU shall compute in goes to the engine');
is($server->safe_psql('postgres', "SELECT precision, deephash_encode($red) FROM deephash_service"), "float32|$code", '... and the CPU computes as before');
$server->append_conf('postgresql.conf', "deephash.precision = 'double'");
$server->reload;
ok(wait_until(sub { server_log($server) =~ /invalid value for parameter "deephash.precision": "double"/ }), 'a reload with a precision that does not exist');
is($server->safe_psql('postgres', 'SHOW deephash.precision'), 'bf16', '... refuses it');
reload("deephash.precision = 'auto'", 'deephash.cuda_graphs = on');
ok(wait_until(sub { engine_arguments() =~ /--precision=auto / }), 'by default the device chooses');

# --------------------------------------------------------------------- limits
reload("deephash.max_image_size = '1kB'");
errs_soon("SELECT deephash_encode($red)", qr/cannot encode image: it has \d+ bytes, more than deephash.max_image_size \(1 kB\)/, 'images over the limit in bytes');
reload("deephash.max_image_size = '1MB'", 'deephash.max_image_pixels = 5000');
errs_soon("SELECT deephash_encode($red)", qr/cannot encode image: .*120.*80/, 'images over the limit in pixels');
reload('deephash.max_image_pixels = 1000000');
encodes_soon('limits lifted');
errs_soon("SELECT deephash_encode(" . image_sql('large') . ")", qr/cannot encode image: .*2400.*1600/, 'a large image is still one');
reload('deephash.max_image_pixels = 100000000', "deephash.device_memory = '16MB'");
my $vast = "$ENV{TESTDIR}/vast.safetensors";
open my $file, '>', $vast or die "$vast: $!";
truncate $file, 17 << 20;
close $file;
errs_soon("SELECT deephash_load_model('vast', '$vast')", qr/model "vast" is larger than deephash.device_memory \(16 MB\)/, 'models over the limit');
reload("deephash.device_memory = '1GB'");

reload("deephash.memory_limit = '1MB'", "deephash.max_image_size = '4MB'");
ok(wait_until(sub { ($server->psql('postgres', 'SELECT memory_limit FROM deephash_service'))[1] eq 1 << 20 }), 'memory can be limited');
$pid = engine_pid($server);
like(error_of("\\set VERBOSITY verbose\nSELECT deephash_encode(" . image_sql('huge') . ", 'm64')"), qr/ERROR:  53200: cannot encode image.*out of memory.*HINT:  deephash.memory_limit is 1 MB/s, 'too little memory is an error that says so');
is(engine_pid($server), $pid, '... and not the end of the engine');
cmp_ok($server->safe_psql('postgres', 'SELECT memory FROM deephash_service'), '<', 2 << 20, '... which keeps to the limit');
reload("deephash.memory_limit = '4GB'");
encodes_soon('with enough of it all is well');

# --------------------------------------------------------- privileges on settings
$server->safe_psql('postgres', 'CREATE ROLE nobody LOGIN');
for my $setting ("deephash.encoder_program = '/bin/sh'", 'deephash.device = cpu', 'deephash.sandbox = off', 'deephash.core_dumps = on')
{
	like(error_of("SET $setting"), qr/cannot be changed now/, "no session sets $setting");
}
like(error_of('SET ROLE nobody; SHOW deephash.encoder_program'), qr/must be superuser|permission denied/, 'not everybody sees the path');
like(error_of("ALTER SYSTEM SET deephash.encoder_program = 'relative/path'"), qr/invalid value.*must be absolute/s, 'a relative path is refused');

# ------------------------------------------------------------ sandbox and core files
reload('deephash.sandbox = off', 'deephash.core_dumps = on');
ok(wait_until(sub { ($server->psql('postgres', 'SELECT sandbox FROM deephash_service'))[1] eq 'off' }), 'the sandbox can be switched off');
$pid = engine_pid($server);
unlike(read_file("/proc/$pid/status"), qr/^Seccomp:\s+2$/m, '... whole');
unlike(read_file("/proc/$pid/limits"), qr/^Max core file size\s+0\s+0/m, 'core files can be allowed') if read_file("/proc/${\ parent_of($pid)}/limits") !~ /^Max core file size\s+\S+\s+0/m;
ok(opendir(my $files, "/proc/$pid/fd"), '... and debuggers with them');
reload('deephash.sandbox = on', 'deephash.core_dumps = off');
ok(wait_until(sub { ($server->psql('postgres', 'SELECT sandbox FROM deephash_service'))[1] =~ /^system calls/ }), 'and on again');
$pid = engine_pid($server);
ok($> == 0 || !opendir($files, "/proc/$pid/fd"), 'nobody looks into it then');

# ---------------------------------------------------- statistics outlive the engine
my $stats = 'SELECT requests, images, errors, restarts FROM deephash_stats';
$server->safe_psql('postgres', 'SELECT deephash_stats_reset()');
is($server->safe_psql('postgres', $stats), '0|0|0|0', 'a reset');
$server->safe_psql('postgres', "SELECT deephash_encode($red); SET deephash.bad_image = warning; SELECT deephash_encode('none')");
is($server->safe_psql('postgres', $stats), '2|1|1|0', 'counted');
kill_engine($server);
is($server->safe_psql('postgres', $stats), '2|1|1|1', 'kept when the engine is killed');
$server->restart;
is($server->safe_psql('postgres', $stats), '2|1|1|2', '... and when the server is restarted');
is($server->safe_psql('postgres', "SELECT engine_started > since, engine_started > now() - interval '1 hour' FROM deephash_stats"), 't|t', 'the view tells since when the engine runs');
$server->stop;
truncate $server->data_dir . '/pgsql_tmp.deephash/stats', 100 or die $!;
$server->start;
is($server->safe_psql('postgres', $stats), '0|0|0|0', 'a damaged file is begun anew');

# ------------------------------------------------------------ a new program, installed
my $program = "$ENV{TESTDIR}/deephash-encoder";
install_program($program);
reload("deephash.encoder_program = '$program'");
ok(wait_until(sub { engine_arguments() =~ /^\Q$program\E / }), 'an engine from another place');
$pid = engine_pid($server);
install_program($program);
is($server->safe_psql('postgres', 'SELECT pid FROM deephash_service'), $pid, 'a program that is replaced changes nothing');
$server->reload;
ok(wait_until(sub { server_log($server) =~ /\(PID $pid\) is replaced: its program changed/ }), '... until a reload');
ok(wait_until(sub { !-e "/proc/$pid" }), '... which ends the old one');
encodes_soon('... and the new one serves');

# ------------------------------------------- a state that cannot be written is not told
my $state_file = $server->data_dir . '/pgsql_tmp.deephash/state';
mkdir "$state_file.new" or die $!;    # in the way of the file, as a full disk would be
kill_engine($server);
is($server->safe_psql('postgres', "SELECT deephash_encode($red)"), $code, 'where the state cannot be written the service goes on');
is($server->safe_psql('postgres', 'SELECT state FROM deephash_supervisor()'), 'unknown', '... and no old one is told');
rmdir "$state_file.new" or die $!;
kill_engine($server);
is($server->safe_psql('postgres', "SELECT deephash_encode($red)"), $code, 'written again');
ok(wait_until(sub { $server->safe_psql('postgres', 'SELECT state FROM deephash_supervisor()') eq 'running' }), '... it is told again');

# ------------------------------------------------------- programs that do not work
for my $program ([ '/nowhere/deephash-encoder', qr/could not execute .*No such file/ ], [ '/bin/false', qr/exit(ed with exit)? code 1/ ],
	[ $server->data_dir . '/PG_VERSION', qr/could not execute .*Permission denied/ ])
{
	reload("deephash.encoder_program = '$program->[0]'");
	ok(wait_until(sub { !engines($server) }), "$program->[0]: no engine");
	my $error = errs_soon("SELECT deephash_encode($red)", qr/deephash-encoder could not be started.*DETAIL:.*$program->[1]/s, '... sessions hear why');
	like($error, qr/HINT:  The server log says more/, '... and where there is more');
	is($server->safe_psql('postgres', 'SELECT count(*) FROM deephash_models'), '2', '... and all else works');
}
reload("deephash.encoder_program = ''", "deephash.device = 'cuda'");
errs_soon("SELECT deephash_encode($red)", qr/^$|deephash-encoder could not be started.*device "cuda" cannot be had/s, 'a GPU that is not there is an error where it is demanded');
reload("deephash.device = 'auto'");
encodes_soon('and no matter otherwise');

# ----------------------------------------------------------- the supervisor's end
my $postmaster = (split /\n/, read_file($server->data_dir . '/postmaster.pid'))[0];
my ($engine) = engines($server);
my $supervisor = parent_of($engine);
is(parent_of($supervisor), $postmaster, 'the supervisor is a child of the postmaster');
kill 'TERM', $supervisor;
ok(wait_until(sub { !kill 0, $engine }), 'terminated, it takes the engine along');
is($server->safe_psql('postgres', "SELECT deephash_encode($red)"), $code, 'the next call starts another');
$server->safe_psql('postgres', 'CREATE DATABASE other');
is($server->safe_psql('other', "CREATE EXTENSION deephash; SELECT deephash_ping()"), 't', 'databases share it');
is(scalar engines($server), 1, 'one engine');
$server->stop('immediate');
ok(wait_until(sub { !engines($server) }), 'an immediate shutdown ends the engine');
$server->start;
is($server->safe_psql('postgres', "SELECT deephash_encode($red)"), $code, 'started again');

# A server that is stopped while a session waits for a stopped engine.
kill 'STOP', engine_pid($server);
my $query = start_query($server, "SELECT deephash_encode($red)");
ok(wait_until_waiting($server), 'a session waits');
$server->stop('fast');
my (undef, $err) = finish_query($query);
like($err, qr/terminating connection due to administrator command/, 'the server stops all the same');
ok(wait_until(sub { !engines($server) }), '... and the stopped engine goes');

unlike(server_log($server), qr/PANIC|TRAP|terminating any other active server processes/, 'nothing of this restarted the server');

# A server that restarts its sessions because one of them crashed.
$server->append_conf('postgresql.conf', 'restart_after_crash = on');
$server->start;
$pid = engine_pid($server);
my $victim = start_session($server);
kill 'KILL', talk($victim, 'SELECT pg_backend_pid();');
ok(wait_until(sub { !kill 0, $pid }), 'a crash of a session takes the engine along');
ok(wait_until(sub { ($server->psql('postgres', 'SELECT 1'))[0] == 0 }), 'the server comes back');
is($server->safe_psql('postgres', "SELECT deephash_encode($red)"), $code, '... with an engine');
is(scalar engines($server), 1, '... and one only');
eval { end_session($victim) };
my $crash_log_end = -s $server->logfile;
$server->stop;

# ------------------------------------------------------------------ no free slot
$server->append_conf('postgresql.conf', "shared_preload_libraries = ''\nmax_worker_processes = 0\nmax_parallel_workers = 0");
$server->start;
like(error_of("SELECT deephash_encode($red)"), qr/no background worker slot is free.*HINT:  Raise max_worker_processes, or add deephash to shared_preload_libraries/s, 'no free slot: what to do');
$server->stop;

# -------------------------------------------------------- a folder that is none
my $folder = $server->data_dir . '/pgsql_tmp.deephash';
rename $folder, "$folder.away" or die $!;
open my $instead, '>', $folder or die $!;
close $instead;
$server->append_conf('postgresql.conf', 'max_worker_processes = 8');
$server->start;
# It is said at once, not after the 30 s that an engine may take to start.
like(error_of("SET statement_timeout = '20s'; SELECT deephash_encode($red)"), qr/cannot use directory "pgsql_tmp.deephash": (Not a directory|Permission denied).*DETAIL:.*HINT:/s, 'a folder that cannot be used is an error that says so');
is($server->safe_psql('postgres', 'SELECT state FROM deephash_supervisor()'), 'none', '... there is no supervisor');
is($server->safe_psql('postgres', 'SELECT count(*) FROM deephash_progress'), '0', '... and no progress');
unlink $folder;
is($server->safe_psql('postgres', "SELECT deephash_encode($red)"), $code, 'it comes back by itself');
$server->stop;
unlike(server_log($server, $crash_log_end), qr/PANIC|TRAP|terminating any other active server processes/, 'the log stays clean');
done_testing();

# Append settings and have the supervisor act on them.
# The command line of the only engine; empty while there is none or another.
sub engine_arguments
{
	my @engine = engines($server);
	return @engine == 1 ? EncoderTest::read_proc("$engine[0]/cmdline") =~ tr/\0/ /r : '';
}

sub reload
{
	$server->append_conf('postgresql.conf', join '', map { "$_\n" } @_);
	$server->reload;
	# A fresh session sees the new settings once the postmaster has read them.
	for my $setting (@_)
	{
		my ($name) = $setting =~ /^(\S+)/;
		my ($value) = $setting =~ /= '?([^']*)'?/;
		wait_until(sub { my $now = $server->safe_psql('postgres', "SHOW $name"); $now eq $value || $now eq "1$value" })
		  or diag "setting $name is " . $server->safe_psql('postgres', "SHOW $name");
	}
	select undef, undef, undef, 0.3;    # the supervisor has its own signal, and may be late
}

# The supervisor acts on new settings in its own time: ask until the error is that one.
sub errs_soon
{
	my ($sql, $wanted, $name) = @_;
	my $error;
	wait_until(sub { $error = error_of($sql); $error =~ $wanted });
	like($error, $wanted, $name);
	return $error;
}

sub encodes_soon
{
	my ($name) = @_;
	my ($got, $error);
	wait_until(sub { (undef, $got, $error) = $server->psql('postgres', "SELECT deephash_encode($red)"); $got eq $code });
	is($got, $code, $name) or diag($error);
}

sub error_of
{
	my ($sql) = @_;
	my (undef, undef, $err) = $server->psql('postgres', $sql);
	return $err;
}

# As an installation does it: a new file under the old name.
sub install_program
{
	my ($path) = @_;
	system("cp '$pkglibdir/deephash-encoder' '$path.new' && chmod 755 '$path.new' && mv '$path.new' '$path'") == 0 or die "cannot install $path";
}

sub parent_of
{
	my ($pid) = @_;
	return read_file("/proc/$pid/status") =~ /^PPid:\s+(\d+)/m ? $1 : 0;
}

sub read_file
{
	open my $f, '<', $_[0] or return '';
	local $/;
	return scalar <$f> // '';
}
