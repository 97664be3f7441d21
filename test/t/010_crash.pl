# The server is killed while sessions insert, update, delete, vacuum and flush;
# after recovery the index must agree with its table, entry for entry, and every
# row whose commit a client was told of must be there.
#
#   DEEPHASH_KILLS=100 prove test/t/010_crash.pl    for more than the usual few
#   DEEPHASH_SEED=1                                 what the load is drawn from
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use Deephash;
use IPC::Run qw(start);
use Test::More;
use Time::HiRes qw(sleep);

my $kills = $ENV{DEEPHASH_KILLS} || 6;
my $seed = $ENV{DEEPHASH_SEED} || time % 1_000_000;
srand($seed);
diag("seed $seed, $kills kills");

my $server = new_server('crash', conf => <<'CONF');
autovacuum = on
autovacuum_naptime = 1s
autovacuum_vacuum_cost_delay = 0
shared_buffers = 2MB
max_wal_size = 64MB
wal_writer_delay = 10ms
log_statement = none
restart_after_crash = off
CONF

# Half of the codes are uniform, half repeat one of 63, so that runs of one code
# cross pages.
$server->safe_psql('postgres', <<'SQL');
CREATE TABLE photo (id bigserial PRIMARY KEY, worker int, code hashcode(64))
	WITH (autovacuum_vacuum_threshold = 200, autovacuum_vacuum_scale_factor = 0);
CREATE INDEX mih_photo ON photo USING mih (code);
CREATE FUNCTION draw() RETURNS hashcode LANGUAGE sql VOLATILE AS $$
	SELECT CASE WHEN random() < 0.5
		THEN lpad(to_hex((random() * 2147483647)::int), 8, '0') || lpad(to_hex((random() * 2147483647)::int), 8, '0')
		ELSE lpad(to_hex((random() * 20)::int), 8, '0') || lpad(to_hex((random() * 2)::int), 8, '0') END::hashcode
$$;
CREATE FUNCTION answers(q hashcode) RETURNS text LANGUAGE sql AS $$
	SELECT md5(string_agg(d || ':' || id, ',' ORDER BY d, id)) FROM
		(SELECT id, coalesce(code <~> q, -1) AS d FROM photo ORDER BY code <~> q OFFSET 0) s
$$;
SQL

# What the sessions do for ever, each with its own mixture.
my %load = (
	few => "INSERT INTO photo (worker, code) SELECT 0, draw() FROM generate_series(1, 1 + (random() * 50)::int)",
	many => "INSERT INTO photo (worker, code) SELECT 0, CASE WHEN random() < 0.9 THEN draw() END FROM generate_series(1, 400)",
	update => "UPDATE photo SET code = draw() WHERE worker = 0 AND id % 97 = (random() * 96)::int",
	delete => "DELETE FROM photo WHERE worker = 0 AND id % 23 = (random() * 22)::int",
	abort => "BEGIN; INSERT INTO photo (worker, code) SELECT 0, draw() FROM generate_series(1, 100); ROLLBACK",
	vacuum => 'VACUUM photo',
	flush => "SELECT mih_flush('mih_photo')",
	checkpoint => 'CHECKPOINT');
my @mixtures = (
	[qw(few few many update)], [qw(few many many delete)],
	[qw(few update delete vacuum abort)], [qw(flush flush many few checkpoint)]);

# Rows of worker 1 are never touched again: what a client was told, stays.
my $promise = "INSERT INTO photo (worker, code) VALUES (1, draw()) RETURNING 'kept ' || id";
my %promised;
my $scripts = 0;

for my $kill (1 .. $kills)
{
	my @sessions = map { start_session(@$_) } @mixtures;
	sleep 0.3 + rand 1.5;
	if (rand() < 0.6) { kill_server($server) }
	else { $server->stop('immediate') }
	my $errors = '';
	for my $session (@sessions)
	{
		$session->{run}->finish;
		$promised{$_} = 1 for ${ $session->{out} } =~ /^kept (\d+)$/mg;
		$errors .= "$_\n" for grep { !/deadlock detected/ } ${ $session->{err} } =~ /(ERROR: .*)/g;
	}
	is($errors, '', "kill $kill: the sessions saw no error before it");
	my $from = -s $server->logfile;
	$server->start;
	compare("kill $kill");
	unlike(server_log($server, $from), qr/PANIC|TRAP:|was terminated by signal/, "kill $kill: recovery is clean");
	$server->safe_psql('postgres', 'DELETE FROM photo WHERE id < (SELECT max(id) FROM photo) - 30000 AND worker = 0');
}
$server->safe_psql('postgres', 'VACUUM photo');
compare('after a last VACUUM');
note(scalar(keys %promised) . ' promises, ' . $server->safe_psql('postgres', 'SELECT count(*) FROM photo') . ' rows');
$server->stop;
done_testing();

sub start_session
{
	my @mixture = @_;
	my $script = join '', map { "$load{ $mixture[ rand @mixture ] }; $promise;\n" } 1 .. 3000;
	my $file = "$ENV{TESTDIR}/load" . ++$scripts . '.sql';
	open my $f, '>', $file or die "cannot write $file: $!";
	print $f $script;
	close $f;
	my ($out, $err) = ('', '');
	my $run = start [ 'psql', '-XAtq', '-d', $server->connstr('postgres'), '-f', $file ],
	  '<', \undef, '>', \$out, '2>', \$err;
	return { run => $run, out => \$out, err => \$err };
}

sub compare
{
	my ($when) = @_;
	my ($status, undef, $err) = $server->psql('postgres', "SELECT mih_check('mih_photo', true)");
	is($status, 0, "$when: mih_check finds nothing") or diag($err);
	my $promises = join ',', sort { $a <=> $b } keys %promised;
	is($server->safe_psql('postgres', "SELECT string_agg(id::text, ' ') FROM unnest('{$promises}'::bigint[]) id
			WHERE NOT EXISTS (SELECT FROM photo p WHERE p.id = id.id)"),
		'', "$when: all " . keys(%promised) . " promised rows are there");
	my $index = 'SET enable_seqscan = off; SET enable_sort = off;';
	like($server->safe_psql('postgres', "$index EXPLAIN SELECT id FROM photo ORDER BY code <~> '00000003ffffffff'"),
		qr/using mih_photo/, "$when: the index serves the query");
	for my $q (qw(0000000300000001 00000007ffffffff 7a3b55aa01234567))
	{
		is($server->safe_psql('postgres', "$index SELECT answers('$q')"),
			$server->safe_psql('postgres', "SET enable_indexscan = off; SELECT answers('$q')"),
			"$when: index and table agree seen from $q");
	}
}
