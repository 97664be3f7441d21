# Statements that are cancelled in the middle of a build, flush, merge, VACUUM,
# check or scan: the index stays sound, the log tells of no leak, the next VACUUM
# frees what they left, and an index does not grow by trying over and over.  And
# sessions that live long: their memory stays flat.
#
#   DEEPHASH_SEED=1   when the cancels come
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use Deephash;
use Test::More;
use Time::HiRes qw(time);

my $seed = seed();
srand($seed);
diag("seed $seed");
my $server = new_server('cancel', conf => <<'CONF');
autovacuum = off
jit = off
log_statement = none
log_min_messages = warning
log_min_error_statement = panic
shared_buffers = 8MB
maintenance_work_mem = 4MB
CONF
$server->safe_psql('postgres', '\i ' . top() . '/test/property.sql');
$server->safe_psql('postgres', <<'SQL');
CREATE FUNCTION draw(i bigint) RETURNS hashcode LANGUAGE sql IMMUTABLE AS $$ SELECT hashcode(hashtextextended(i::text, 0)) $$;
CREATE TABLE t (id int, code hashcode(64));
INSERT INTO t SELECT i, draw(i) FROM generate_series(1, 60000) i;
SQL

cancel_again_and_again();
long_sessions();
unlike(server_log($server), qr/PANIC|TRAP:|was terminated by signal|leak/, 'the log tells of no crash and no leak');
$server->stop;
done_testing();

# Run the statement with timeouts spread over the time that it takes, shorter ones
# if it is done before; returns how often it was cancelled.
sub cancelled
{
	my ($sql, $prepare, $tries) = @_;
	my $takes;
	# The second time: the first may have more to do than all that follow.
	for (1 .. 2)
	{
		$server->safe_psql('postgres', $prepare) if $prepare;
		my $begin = time;
		$server->safe_psql('postgres', $sql);
		$takes = 1000 * (time - $begin);
	}
	my $cancelled = 0;
	for my $try (1 .. 5 * $tries)
	{
		last if $try > $tries && $cancelled;
		$server->safe_psql('postgres', $prepare) if $prepare;
		my $timeout = 1 + int($takes * (rand(0.9) + 0.02));
		my ($status, undef, $err) = $server->psql('postgres', "SET statement_timeout = $timeout; $sql", on_error_die => 0);
		if ($err =~ /canceling statement due to statement timeout/) { $cancelled++ }
		else { $takes *= 0.9 }
		die $err if $status && $err !~ /canceling statement/;
	}
	return $cancelled;
}

sub size { return $server->safe_psql('postgres', "SELECT pg_relation_size('$_[0]')") }

sub orphans
{
	my (undef, undef, $err) = $server->psql('postgres', "SELECT mih_check('$_[0]', true)");
	return $err =~ /has (\d+) pages? of no part/ ? $1 : $err eq '' ? 0 : $err;
}

sub cancel_again_and_again
{
	my $make = 'CREATE INDEX mih_t ON t USING mih (code) WITH (chunks = 4, pending_pages = 10000)';
	my %try = (
		'build' => [ "DROP INDEX IF EXISTS mih_new; CREATE INDEX mih_new ON t USING mih (code)", '', 10 ],
		'scan' => [ "SET enable_seqscan = off; SET enable_sort = off; SELECT count(*) FROM (SELECT FROM t ORDER BY code <~> '0123456789abcdef' OFFSET 0) s", '', 10 ],
		'check' => [ "SELECT mih_check('mih_t', true)", '', 6 ],
		'flush' => [ "SELECT mih_flush('mih_t')", 'INSERT INTO t SELECT 0, draw(i) FROM generate_series(1, 20000) i', 15 ],
		'vacuum' => [ 'VACUUM t', 'DELETE FROM t WHERE id = 0; INSERT INTO t SELECT 0, draw(i) FROM generate_series(1, 15000) i', 15 ],
		'reindex concurrently' => [ 'REINDEX INDEX CONCURRENTLY mih_t', 'DROP INDEX IF EXISTS mih_t_ccnew, mih_t_ccold', 8 ]);
	$server->safe_psql('postgres', $make);
	for my $what ('build', 'scan', 'check', 'flush', 'vacuum', 'reindex concurrently')
	{
		my $n = cancelled(@{ $try{$what} });
		note("$what: $n of $try{$what}[2] cancelled, " . size('mih_t') . ' bytes, ' . orphans('mih_t') . ' orphans');
		cmp_ok($n, '>', 0, "$what: cancelled $n times");
		is($server->safe_psql('postgres', "SELECT property.checked('mih_t'); SELECT property.knn('t', '''0123456789abcdef''::hashcode', 'id > 0', 500, 0, false, true)"),
			"ok\nok", "$what: the index is sound");
		$server->safe_psql('postgres', 'DROP INDEX IF EXISTS mih_new, mih_t_ccnew, mih_t_ccold');
		$server->safe_psql('postgres', 'VACUUM t');
		is(orphans('mih_t'), 0, "$what: VACUUM frees what was left");
	}

	my $rows = 'INSERT INTO t SELECT 0, draw(i) FROM generate_series(1, 100000) i';
	$server->safe_psql('postgres', "DROP INDEX mih_t; TRUNCATE t; $make; $rows");
	my $takes = $server->safe_psql('postgres', "SELECT 1000 * extract(epoch FROM clock_timestamp() - statement_timestamp()) FROM mih_flush('mih_t')");
	my $flushed = size('mih_t');
	$server->safe_psql('postgres', "TRUNCATE t; $rows");
	my ($failed, $largest) = (0, 0);
	for my $try (1 .. 60)
	{
		my $timeout = 1 + int $takes * (0.2 + rand 0.4);
		my ($status) = $server->psql('postgres', "SET statement_timeout = $timeout; " . ($try % 2 ? "SELECT mih_flush('mih_t')" : 'VACUUM t'), on_error_die => 0);
		if ($status)
		{
			$failed++;
			$largest = size('mih_t') if size('mih_t') > $largest;
			last if $failed == 20;
			next;
		}
		# It was done before its time: the measured flush was a slow one.
		$takes *= 0.7;
		$server->safe_psql('postgres', "TRUNCATE t; $rows");
	}
	note("a flush leaves $flushed bytes; after $failed that failed it is " . size('mih_t'));
	cmp_ok($failed, '>', 2, "$failed flushes were cancelled");
	cmp_ok($largest, '<', $flushed * 1.1, 'the index does not grow by tries that fail');
	$server->safe_psql('postgres', 'VACUUM t');
	is(orphans('mih_t'), 0, 'nothing is left');
}

# The same many times in one session: what its memory contexts hold stays flat.
sub long_sessions
{
	return if $server->safe_psql('postgres', 'SHOW server_version_num') < 140000;
	$server->safe_psql('postgres', 'CREATE TABLE m (id serial, code hashcode(64)); CREATE INDEX mih_m ON m USING mih (code) WITH (chunks = 3, pending_pages = 2)');
	my $total = 'SELECT sum(total_bytes) FROM pg_backend_memory_contexts';
	my $query = "SELECT count(*) FROM (SELECT FROM m ORDER BY code <~> draw(%d) LIMIT 300) s";
	my %work = (
		'inserts and flushes' => "DO \$\$ BEGIN FOR i IN 1 .. 3000 LOOP INSERT INTO m (code) VALUES (draw(i)); END LOOP; PERFORM mih_flush('mih_m'); DELETE FROM m WHERE id % 2 = 0; END \$\$; VACUUM m;",
		'scans' => "SET enable_seqscan = off; SET enable_sort = off;" . join(';', map { sprintf $query, $_ } 1 .. 200) . ';',
		'radius scans' => "SET enable_seqscan = off;" . join(';', map { "SELECT count(*) FROM m WHERE code <@ hashball(draw($_), 20)" } 1 .. 200) . ';',
		'nested scans' => "SET enable_seqscan = off; SET enable_sort = off; SELECT count(*) FROM (SELECT draw(i) AS q FROM generate_series(1, 500) i OFFSET 0) q, LATERAL (SELECT FROM m ORDER BY code <~> q LIMIT 3) s;",
		'cursors left open' => join('', map { "BEGIN; DECLARE c CURSOR FOR SELECT id FROM m ORDER BY code <~> draw($_); FETCH 10 FROM c; ROLLBACK;" } 1 .. 50),
		'failing scans' => join('', map { "SELECT 1 / (id - id) FROM m ORDER BY code <~> draw($_) LIMIT 5;" } 1 .. 50));
	for my $what (sort keys %work)
	{
		my $script = "$work{$what} SELECT 'total ' || sum(total_bytes) FROM pg_backend_memory_contexts;\n";
		my (undef, $out) = $server->psql('postgres', $script x 10, on_error_stop => 0, on_error_die => 0);
		my @total = $out =~ /^total (\d+)/mg;
		note("$what: @total bytes");
		is(scalar @total, 10, "$what: ran ten times");
		cmp_ok($total[-1] - $total[4], '<', 300_000, "$what: memory stays flat");
	}
}
