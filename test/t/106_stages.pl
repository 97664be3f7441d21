# The service on a device that works beside the CPU: the CUDA plug-in, its operations
# compiled for the host.  Two batches under way, precisions, graphs, codes packed by the
# device and beside the CPU's, sessions that leave, an engine replaced and killed.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use Deephash;
use EncoderTest;
use Test::More;

my $program = top() . '/build/host-engine/deephash-encoder';
my $server = new_server('main', conf => "shared_preload_libraries = 'deephash'\nmax_connections = 60\n"
	  . "deephash.device = cuda\ndeephash.encoder_program = '$program'\ndeephash.batch_size = 4\n");
load_models($server);
my @name = qw(red green large);
my %sql = map { $_ => image_sql($_) } @name;

is($server->safe_psql('postgres', 'SELECT device, precision FROM deephash_service'), 'cuda|fp16', 'the plug-in serves, in fp16');
like(server_log($server), qr/ready on device cuda \(the host\)/, 'it is the one for the host');

# The CPU's codes and logits, by the program that trains.
my %code;
for my $name (@name)
{
	my $line = `'${\ top()}/build/bin/deephash-train' encode --model '${\ fixture('tiny64.safetensors')}' '${\ fixture("$name.jpg")}'`;
	($code{$name}) = $line =~ /\t([0-9a-f]{16})$/m;
}

# ---------------------------------------------------- codes in every precision
my %exact;
for my $precision (qw(fp16 bf16 tf32 float32))
{
	serve_in($precision);
	$server->safe_psql('postgres', 'SELECT deephash_stats_reset()');
	my $distance = 0;
	for my $name (@name)
	{
		$exact{$name} = $server->safe_psql('postgres', "SELECT deephash_encode($sql{$name}, 'm64')");
		$distance += $server->safe_psql('postgres', "SELECT '$exact{$name}'::hashcode <~> '$code{$name}'::hashcode");
		my $logits = $server->safe_psql('postgres', "SELECT string_agg(CASE WHEN z > 0 THEN '1' ELSE '0' END, '' ORDER BY k) FROM unnest(deephash_embed($sql{$name}, 'm64')) WITH ORDINALITY AS l (z, k)");
		is(unpack('B*', pack('H*', $exact{$name})), $logits, "$precision, $name: the code is that of its logits");
	}
	my ($images, $doubtful) = split /\|/, $server->safe_psql('postgres', 'SELECT images, doubtful_bits FROM deephash_stats');
	is($images, 6, "$precision: six images, code and logits of three");
	cmp_ok($distance, '<=', $doubtful, "$precision: $distance bits differ from the CPU's, $doubtful may");
}
is($exact{$_}, $code{$_}, "float32, $_: the CPU's code") for @name;
like(error_of("SELECT deephash_encode('none', 'm64')"), qr/cannot encode image/, 'a bad image is an error');

# ------------------------------------------------------ batches, many sessions
my %before = holdings();
$server->safe_psql('postgres', "CREATE TABLE picture AS SELECT i, (ARRAY['red', 'green', 'large'])[1 + i % 3] AS name,
	(ARRAY[$sql{red}, $sql{green}, $sql{large}])[1 + i % 3] AS data FROM generate_series(1, 60) i");
my $right = "CASE name WHEN 'red' THEN '$code{red}' WHEN 'green' THEN '$code{green}' ELSE '$code{large}' END::hashcode";
is($server->safe_psql('postgres', "SELECT count(*), bool_and(p.c = $right) FROM (SELECT name, (deephash_encode_array(array_agg(data) OVER (), 'm64'))[i] AS c FROM picture ORDER BY i) p"),
	'60|t', 'sixty images at once: each gets its code');
my @queries = map { start_query($server, "SELECT count(*), bool_and(c = $right), count(DISTINCT c) FROM (SELECT name, deephash_encode(data, 'm64') AS c FROM picture WHERE i <= 12) p") } 1 .. 16;
push @queries, map { start_query($server, "SELECT count(*), bool_and(length(c) = 16), 3 FROM unnest(deephash_encode_array((SELECT array_agg(data) FROM picture), 'm16')) c") } 1 .. 4;
my @answers = map { [ finish_query($_) ] } @queries;
is(join(' ', map { $_->[0] } @answers), join(' ', ('12|t|3') x 16, ('60|t|3') x 4), 'twenty sessions, two models: each gets its codes');
is(join('', map { $_->[1] } @answers), '', '... without a word');
my ($images, $batches, $largest) = split /\|/, $server->safe_psql('postgres', 'SELECT images, batches, largest_batch FROM deephash_stats');
cmp_ok($largest, '<=', 4, 'no batch is larger than asked for');
cmp_ok($batches, '<=', $images, '... nor empty');

# ---------------------------------------------------------- sessions that leave
my $pid = engine_pid($server);
kill 'STOP', $pid;
@queries = map { start_query($server, "SELECT count(*) FROM unnest(deephash_encode_array((SELECT array_agg(data) FROM picture), 'm64'))") } 1 .. 6;
ok(wait_until_waiting($server, 6), 'six sessions wait');
$server->safe_psql('postgres', "SELECT pg_cancel_backend(pid) FROM (SELECT pid FROM pg_stat_activity WHERE query LIKE 'SELECT count(*) FROM unnest(deephash_encode%' ORDER BY pid LIMIT 3) p");
kill 'CONT', $pid;
@answers = map { [ finish_query($_) ] } @queries;
is(scalar(grep { $_->[1] =~ /canceling statement due to user request/ } @answers), 3, 'three are cancelled');
is(scalar(grep { $_->[0] eq '60' } @answers), 3, 'three get all codes');
is(engine_pid($server), $pid, 'by the same engine');
my %now;
ok(wait_until(sub { %now = holdings(); $now{clients} <= 1 && $now{queued} == 0 && $now{buffered} == 0 }), 'nothing is left behind');
is($now{threads}, $before{threads}, '... nor a thread');

# -------------------------------------------------- an engine replaced, and killed
my $loop = "DO \$\$ DECLARE n int; BEGIN FOR i IN 1 .. 10 LOOP SELECT count(*) INTO n FROM unnest(deephash_encode_array((SELECT array_agg(data) FROM picture), 'm64'));
	IF n <> 60 THEN RAISE EXCEPTION '% codes', n; END IF; END LOOP; END \$\$";
kill 'STOP', $pid;
@queries = map { start_query($server, $loop) } 1 .. 3;
ok(wait_until_waiting($server, 3), 'sessions are busy');
kill 'CONT', $pid;
set('deephash.batch_size = 3', 'deephash.cuda_graphs = off');
is(join('', map { (finish_query($_))[1] } @queries), '', 'an engine replaced under load answers what it has');
isnt(engine_pid($server), $pid, 'it is another one');
kill_engine($server);
is($server->safe_psql('postgres', "SELECT deephash_encode($sql{red}, 'm64')"), $code{red}, 'a killed one has a successor');

# A model that leaves and comes back takes and gives back its memory.
set("deephash.device_memory = '16MB'", 'deephash.batch_size = 32', 'deephash.cuda_graphs = on');
for my $turn (1 .. 3)
{
	is($server->safe_psql('postgres', "SELECT length(deephash_encode($sql{red}, 'm16')), deephash_encode($sql{red}, 'm64')"), "16|$code{red}", "turn $turn within 16 MB");
}
cmp_ok($server->safe_psql('postgres', 'SELECT model_memory FROM deephash_service'), '<=', 16 << 20, 'what is resident is within the limit');
done_testing();

sub error_of
{
	my ($sql) = @_;
	my ($rc, $out, $err) = $server->psql('postgres', $sql);
	return $err;
}

# Settings, and wait until the engine has them.
sub set
{
	my $old = engine_pid($server);
	$server->safe_psql('postgres', "ALTER SYSTEM SET $_") for @_;
	$server->reload;
	wait_until(sub { my $pid = ($server->psql('postgres', 'SELECT pid FROM deephash_service'))[1]; $pid && $pid ne $old })
	  or die "the engine was not replaced after: @_";
}

sub serve_in
{
	my ($precision) = @_;
	$server->safe_psql('postgres', "ALTER SYSTEM SET deephash.precision = '$precision'");
	$server->reload;
	ok(wait_until(sub { ($server->psql('postgres', 'SELECT precision FROM deephash_service'))[1] eq $precision }), "$precision is served");
}

sub holdings
{
	my %now = (threads => scalar(() = glob '/proc/' . engine_pid($server) . '/task/*'));
	@now{qw(clients queued buffered)} = split /\|/, $server->safe_psql('postgres', 'SELECT clients, queued, buffered FROM deephash_service');
	return %now;
}
