# Models live in the database: they survive restart, crash, dump and restore, and
# reach a standby; the cache does not matter.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use Deephash;
use EncoderTest;
use Test::More;

my $server = new_server('main', streaming => 1);
my $red = image_sql('red');
my $run_dir = $server->data_dir . '/pgsql_tmp.deephash';
my $ask = "SELECT name, bits, sha256, is_default FROM deephash_models ORDER BY name;
	SELECT deephash_encode($red, 'm16'), deephash_encode($red, 'm64'), deephash_encode($red, 'wide'), deephash_encode($red)";

# ------------------------------------------------------------------- from files
load_models($server);
is($server->safe_psql('postgres', "SELECT deephash_load_model('wide', '" . fixture('wide64.safetensors') . "')"), '64', 'loaded from a file of the server');
cmp_ok($server->safe_psql('postgres', "SELECT count(*) FROM deephash_model_chunk WHERE model = 'wide'"), '>=', 3, '... in several rows');
is( $server->safe_psql('postgres',
		"SELECT string_agg(data, '' ORDER BY part) = pg_read_binary_file('" . fixture('wide64.safetensors') . "') FROM deephash_model_chunk WHERE model = 'wide'"),
	't', '... that are its bytes');
my $cached = () = glob "$run_dir/*.model";
my (undef, $out, $err) = $server->psql('postgres', "SELECT deephash_load_model('m64', '" . fixture('other16.safetensors') . "')");
like($err, qr/another model "m64" is already loaded/, 'a name in use is refused');
is(scalar(() = glob "$run_dir/*.model"), $cached, '... and the file does not stay in the cache');
$server->safe_psql('postgres', "CREATE ROLE loader LOGIN IN ROLE pg_read_server_files; GRANT EXECUTE ON FUNCTION deephash_load_model(text, text, boolean) TO loader");
is($server->safe_psql('postgres', "SET ROLE loader; SELECT deephash_load_model('theirs', '" . fixture('other16.safetensors') . "')"), '16', 'a member of pg_read_server_files may');
(undef, $out, $err) = $server->psql('postgres', "SELECT deephash_load_model('broken', '" . fixture('half.safetensors') . "')");
like($err, qr/cannot load model "broken" from "\S+half.safetensors": tensor "hash.weight"/, 'a broken file is refused with the reason');
(undef, $out, $err) = $server->psql('postgres', "SELECT deephash_load_model('broken', '" . fixture('red.jpg') . "')");
like($err, qr/not a safetensors file/, '... and one of another kind');
unlike(join(' ', glob "$run_dir/*"), qr/\.tmp/, 'no temporary file is left');
my $answer = $server->safe_psql('postgres', $ask);

# ------------------------------------------------------------ restart and crash
$server->restart;
is($server->safe_psql('postgres', $ask), $answer, 'the same answers after a restart');
kill_server($server);
ok(wait_until(sub { !engines($server) }), 'a killed server leaves no engine behind');
$server->start;
is($server->safe_psql('postgres', $ask), $answer, '... and after a crash');

# -------------------------------------------------------------- dump and restore
my $dump = "$ENV{TESTDIR}/models.sql";
$server->safe_psql('postgres', "CREATE TABLE photo (id int, jpeg bytea, code hashcode(64));
	CREATE TRIGGER encode BEFORE INSERT OR UPDATE ON photo FOR EACH ROW EXECUTE FUNCTION deephash_encode_trigger('jpeg', 'code', 'm64');
	INSERT INTO photo VALUES (1, $red)");
my $code = $server->safe_psql('postgres', 'SELECT code FROM photo');
$server->command_ok([ 'pg_dump', '-f', $dump, $server->connstr('postgres') ], 'dumped');
$server->safe_psql('postgres', 'CREATE DATABASE copy');
$server->command_ok([ 'psql', '-Xq', '-v', 'ON_ERROR_STOP=1', '-f', $dump, $server->connstr('copy') ], 'restored');
is($server->safe_psql('copy', $ask), $answer, 'the same answers in the copy');
is($server->safe_psql('copy', "INSERT INTO photo VALUES (2, $red); SELECT count(*), count(DISTINCT code), min(code::text) FROM photo"), "2|1|$code", 'the trigger goes on there');
$server->command_ok([ 'pg_dump', '-Fc', '-f', "$dump.custom", $server->connstr('postgres') ], 'dumped as an archive');
$server->safe_psql('postgres', 'CREATE DATABASE archive');
$server->command_ok([ 'pg_restore', '-e', '-d', $server->connstr('archive'), "$dump.custom" ], 'restored from it');
is($server->safe_psql('archive', $ask), $answer, 'the same answers there');
$server->safe_psql('copy', "SELECT deephash_drop_model('m64')");
(undef, $out, $err) = $server->psql('copy', "INSERT INTO photo VALUES (3, $red)");
like($err, qr/model "m64" is not loaded/, 'a model dropped in one database');
is($server->safe_psql('postgres', $ask), $answer, '... stays in the others');

# Bytes damaged in the table are noticed before anything is encoded with them.
$server->safe_psql('copy', "UPDATE deephash_model_chunk SET data = set_byte(data, 9000, get_byte(data, 9000) # 1) WHERE model = 'm16'");
$server->stop;
unlink glob "$run_dir/*.model";
$server->start;
(undef, $out, $err) = $server->psql('copy', "SELECT deephash_encode($red, 'm16')");
like($err, qr/stored bytes of model "m16" do not match its sha256/, 'damaged bytes are noticed');

# ------------------------------------------------------------ standby and backup
my $standby = new_standby($server, 'standby');
ok(!-e $standby->data_dir . '/pgsql_tmp.deephash', 'a base backup leaves the cache and the socket out');
is($standby->safe_psql('postgres', $ask), $answer, 'a standby encodes');
is(scalar engines($standby), 1, '... with its own engine');
(undef, $out, $err) = $standby->psql('postgres', "SELECT deephash_load_model('x', '" . fixture('tiny16.safetensors') . "')");
like($err, qr/cannot execute deephash_load_model\(\) (in a read-only transaction|during recovery)/, '... and loads nothing');
$standby->stop;
$server->stop;
ok(wait_until(sub { !engines($server) && !engines($standby) }), 'the engines are gone');
done_testing();
