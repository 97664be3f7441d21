# What the engine does with clients that do not keep to the protocol, that leave,
# and that send much at once.  Speaks to its socket directly.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use Deephash;
use EncoderTest;
use Digest::SHA qw(sha256);
use IO::Socket::UNIX;
use Test::More;

use constant { PING => 1, CHECK_MODEL => 2, ENCODE => 3, STATUS => 4, RESET => 5 };
use constant { OK => 0, NO_MODEL => 1, BAD_MODEL => 2, BAD_IMAGE => 3, TOO_LARGE => 4, BUSY => 7, CLOSING => 8, BAD_REQUEST => 9 };

# The engine built with sanitizers, where there is one; they cannot work in the sandbox.
my $sanitized = top() . '/build/asan/bin/deephash-encoder';
my $conf = "shared_preload_libraries = 'deephash'\nmax_connections = 20\ndeephash.encoder_threads = 2\n";
$conf .= "deephash.encoder_program = '$sanitized'\ndeephash.sandbox = off\n" if -x $sanitized;
my $server = new_server('main', conf => $conf);
load_models($server);
my $red = read_file(fixture('red.jpg'));
my $m64 = sha256(read_file(fixture('tiny64.safetensors')));
my $none = "\0" x 32;
my $code = $server->safe_psql('postgres', 'SELECT deephash_encode(' . image_sql('red') . ", 'm64')");
my $pid = engine_pid($server);
# A socket's path may have 107 bytes only.
chdir $server->data_dir;

# -------------------------------------------------------------- keeping to it
my $client = connect_engine();
is_deeply([ ask($client, PING, 7, $none, 0, '') ], [ OK, PING, 7, 0, '' ], 'ping');
is_deeply([ ask($client, ENCODE, 8, $m64, 0, $red) ], [ OK, ENCODE, 8, 64, pack 'H*', $code ], 'a code');
my (undef, undef, undef, $bits, $reply) = ask($client, ENCODE, 9, $m64, 1, $red);
is(length $reply, 64 * 4 + 8, 'logits and a code');
my $signs = join '', map { $_ > 0 ? 1 : 0 } unpack 'f64', $reply;
is(unpack('H*', pack 'B64', $signs), $code, '... whose bits are their signs');
my ($status, undef, undef, undef, $json) = ask($client, CHECK_MODEL, 10, $m64, 0, '');
like($json, qr/"architecture".*fixture/, 'a description');
is((ask($client, ENCODE, 11, sha256('nothing'), 0, $red))[0], NO_MODEL, 'a model that is not in the cache');
is((ask($client, ENCODE, 12, $m64, 0, ''))[0], BAD_IMAGE, 'an empty image');
is((ask($client, ENCODE, 13, $m64, 0, 'x' x 100000))[0], BAD_IMAGE, 'a large image that is none');

is_deeply([ ask($client, RESET, 14, $none, 0, '') ], [ OK, RESET, 14, 0, '' ], 'reset');
like(status($client), qr/"stats": \{"ms": \d+,[^{}]* "requests": 0, "images": 0, "batches": 0/, '... begins the statistics anew');

# Many requests without waiting; answers come by number, in any order.
my $many = '';
$many .= request(ENCODE, $_, $m64, 0, $_ % 3 ? $red : 'no image') for 1 .. 200;
if (!fork)
{
	print $client $many;
	$client->flush;
	require POSIX;
	POSIX::_exit(0);
}
my %answer;
for (1 .. 200)
{
	my ($status, undef, $id, undef, $payload) = receive($client);
	$answer{$id} = $status == OK ? unpack('H*', $payload) : $status;
}
wait;
is(scalar keys %answer, 200, '200 requests at once');
is_deeply([ map { $answer{$_} } 1 .. 200 ], [ map { $_ % 3 ? $code : BAD_IMAGE } 1 .. 200 ], '... each with its answer');

# A client with much to do keeps nobody else from being answered (test_service_queue.c has the order).
my $large = read_file(fixture('large.jpg'));
my $bulk = connect_engine();
my $writer = fork // die "fork: $!";
if (!$writer)
{
	print $bulk request(ENCODE, $_, $m64, 0, $large) for 1 .. 400;
	$bulk->flush;
	require POSIX;
	POSIX::_exit(0);
}
is((ask($client, ENCODE, 1, $m64, 0, $red))[0], OK, 'another client is answered');
receive($bulk) for 1 .. 400;
waitpid $writer, 0;
close $bulk;

# Answers that nobody reads are not piled up: soon the engine reads no further questions.
my $deaf = connect_engine();
my $pings = join '', map { request(PING, $_, $none, 0, '') } 1 .. 100_000;
my ($asked, $tries) = (0, 0);
$deaf->blocking(0);
while ($asked < length $pings && $tries < 300)
{
	my $n = syswrite $deaf, $pings, 1 << 20, $asked;
	$asked += $n // 0;
	$tries = $n ? 0 : $tries + 1;
	select undef, undef, undef, 0.001 if !$n;
}
cmp_ok($asked, '<', length $pings, 'who reads no answer is not read from');
$deaf->blocking(1);
if (!fork)
{
	print $deaf substr $pings, $asked;
	$deaf->flush;
	require POSIX;
	POSIX::_exit(0);
}
is_deeply([ grep { (receive($deaf))[2] != $_ } 1 .. 100_000 ], [], '... and misses none once it reads');
wait;
close $deaf;

# One byte at a time.
my $slow = connect_engine();
for my $byte (split //, request(ENCODE, 1, $m64, 0, substr $red, 0, 300))
{
	syswrite $slow, $byte;
}
is((receive($slow))[0], BAD_IMAGE, 'a request in single bytes');

# ------------------------------------------------------------- not keeping to it
for my $case (
	[ 'text', "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n" . 'x' x 100, BAD_REQUEST, qr/not a deephash request/ ],
	[ 'zeros', "\0" x 64, BAD_REQUEST, qr/not a deephash request/ ],
	[ 'another version', head(PING, 1, $none, 0, 0, version => 9), BAD_REQUEST, qr/version 9.* speaks version 1/ ],
	[ 'an unknown kind', head(77, 1, $none, 0, 0), BAD_REQUEST, qr/unknown kind of request: 77/ ],
	[ 'kind zero', head(0, 1, $none, 0, 0), BAD_REQUEST, qr/unknown kind/ ],
	[ 'a ping with a payload', head(PING, 1, $none, 0, 5) . 'hello', BAD_REQUEST, qr/unexpected payload of 5 bytes/ ],
	[ 'a huge image', head(ENCODE, 1, $m64, 0, 2**40), TOO_LARGE, qr/image of 1099511627776 bytes is larger than/ ],
	[ 'a length of all ones', head(ENCODE, 1, $m64, 0, ~0), TOO_LARGE, qr/larger than/ ])
{
	my ($name, $bytes, $wanted, $text) = @$case;
	my $client = connect_engine();
	syswrite $client, $bytes;
	my ($status, undef, undef, undef, $payload) = receive($client);
	is($status, $wanted, "$name: refused");
	like($payload, $text, "$name: with the reason");
	ok(!sysread($client, my $more, 1), "$name: then it hangs up");
}
srand 42;
for (1 .. 200)
{
	my $client = connect_engine();
	my $bytes = join '', map { chr int rand 256 } 1 .. int rand 300;
	substr($bytes, 0, 0) = substr(head(1 + int rand 4, 1, $m64, int rand 4, int rand 500), 0, int rand 65) if rand() < 0.7;
	syswrite $client, $bytes;
	close $client;
}
pass('200 clients with noise that leave at once');

# ---------------------------------------------------------------------- leaving
kill 'STOP', $pid;
my @leavers = map { connect_engine() } 1 .. 10;
for my $leaver (@leavers)
{
	syswrite $leaver, request(ENCODE, 1, $m64, 0, $red) x 3;
}
close $_ for @leavers[ 0 .. 4 ];
shutdown $_, 1 for @leavers[ 5 .. 9 ];
close $_ for @leavers;
kill 'CONT', $pid;
my $half = connect_engine();
syswrite $half, substr request(ENCODE, 1, $m64, 0, $red), 0, 1000;
close $half;
close $slow;
ok(wait_until(sub { status($client) =~ /"clients": 1,/ }), 'nobody who left is kept');
like(status($client), qr/"queued": 0, "buffered": 0,/, '... nor anything of theirs');

# Too many: the rest is told so.
my @crowd = map { connect_engine() } 1 .. 100;
my $told = 0;
for my $one (@crowd)
{
	syswrite $one, request(PING, 1, $none, 0, '');
	$told++ if (receive($one))[0] == BUSY;
}
cmp_ok($told, '>', 20, 'more clients than there can be sessions are refused');
close $_ for @crowd;
ok(wait_until(sub { status($client) =~ /"clients": 1,/ }), '... and forgotten');

is(engine_pid($server), $pid, 'the engine lived through all of it');
is($server->safe_psql('postgres', 'SELECT deephash_encode(' . image_sql('red') . ", 'm64')"), $code, '... and encodes');
my @files = glob "/proc/$pid/task/*";
cmp_ok(scalar @files, '<', 16, 'it has no more threads than it needs');
$server->stop;
is_deeply([ (receive($client))[ 0 .. 2 ] ], [ CLOSING, 0, 0 ], 'who is idle at the end is told of it');
unlike(server_log($server), qr/deephash-encoder \(PID \d+\) (ended|did not end)/, 'the log tells of no death');
unlike(server_log($server), qr/Sanitizer|runtime error/, '... and the sanitizers of no mistake');
done_testing();

sub connect_engine
{
	return IO::Socket::UNIX->new(Type => SOCK_STREAM, Peer => 'pgsql_tmp.deephash/engine.sock') || die "cannot connect: $!";
}

sub head
{
	my ($kind, $id, $model, $flags, $length, %arg) = @_;
	return pack 'a4 S S Q a32 L L Q', 'DHRQ', $arg{version} || 1, $kind, $id, $model, $flags, 0, $length;
}

sub request
{
	my ($kind, $id, $model, $flags, $payload) = @_;
	return head($kind, $id, $model, $flags, length $payload) . $payload;
}

sub ask
{
	my $client = shift;
	syswrite $client, request(@_);
	return receive($client);
}

# (status, kind, id, bits, payload) of the next reply
sub receive
{
	my ($client) = @_;
	my ($magic, $version, $kind, $id, $status, $bits, $length) = unpack 'a4 S S Q L L Q', take($client, 32);
	die "bad reply" unless $magic eq 'DHRP' && $version == 1;
	return ($status, $kind, $id, $bits, take($client, $length));
}

sub take
{
	my ($client, $n) = @_;
	my $bytes = '';
	while (length $bytes < $n)
	{
		sysread($client, $bytes, $n - length $bytes, length $bytes) or die "the engine hung up";
	}
	return $bytes;
}

sub status
{
	my ($client) = @_;
	return (ask($client, STATUS, 99, $none, 0, ''))[4];
}

sub read_file
{
	open my $f, '<:raw', $_[0] or die "$_[0]: $!";
	local $/;
	return scalar <$f>;
}
