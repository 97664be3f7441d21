# The disk that holds an index is full, at every stage of insert, flush, merge,
# VACUUM and build: a clear error, the old state, the same answers, and the work
# done once there is room.  SmallDisk.pm says where the disk comes from and where
# these tests are skipped; limits on temporary files are tested everywhere.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use Deephash;
use SmallDisk;
use Test::More;

my $disk = small_disk();

my $server = new_server('full', conf => "autovacuum = off\njit = off\nlog_statement = none\nshared_buffers = 4MB\n");
$server->safe_psql('postgres', '\i ' . top() . '/test/property.sql');
$server->safe_psql('postgres', <<'SQL');
CREATE FUNCTION draw(i bigint) RETURNS hashcode LANGUAGE sql IMMUTABLE AS $$ SELECT hashcode(hashtextextended(i::text, 0)) $$;
CREATE TABLE t (id int, code hashcode(64));
INSERT INTO t SELECT i, draw(i) FROM generate_series(1, 20000) i;
SQL

temporary_file_limit();
SKIP:
{
	skip 'no small file system: user name spaces with mounts are not allowed here', 1 unless $disk;
	mkdir "$disk/space" or die "cannot make $disk/space: $!";
	$server->safe_psql('postgres', "CREATE TABLESPACE small LOCATION '$disk/space'");
	insert_without_room();
	flush_without_room();
	merge_without_room();
	vacuum_without_room();
	build_without_room();
	temporary_files_without_room();
}
unlike(server_log($server), qr/PANIC|TRAP:|was terminated by signal|refcount leak/, 'the log is clean');
$server->stop;
done_testing();

# SQLSTATE of a statement, 00000 if it did well.
sub state_of
{
	my ($sql) = @_;
	my ($status, undef, $err) = $server->psql('postgres', "\\set VERBOSITY verbose\n$sql;", on_error_die => 0);
	return $err =~ /ERROR:\s+(\w{5}):/ ? $1 : $status ? "status $status: $err" : '00000';
}

sub sound
{
	my ($what, $index, $table, $cond) = @_;
	my $got = $server->safe_psql('postgres', "SET client_min_messages = error; SELECT property.checked('$index');"
		  . join '', map { "SELECT property.knn('$table', '''$_''::hashcode', 'true', NULL, 0, false, true);" } qw(0123456789abcdef ffffffff00000000));
	is($got, "ok\nok\nok", $what);
}

# Try a statement with ever more room until it does well; index and table must be
# sound after each failure.  Returns how often it failed.
sub until_it_works
{
	my ($what, $sql, $index, $table, @rooms) = @_;
	my $failed = 0;
	for my $blocks (@rooms, undef)
	{
		small_disk_room($blocks);
		my $state = ref $sql ? $sql->() : state_of($sql);
		small_disk_room(undef);
		my $with = defined $blocks ? "room for $blocks blocks" : 'all the room';
		if ($state eq '00000' || !defined $blocks)
		{
			is($state, '00000', "$what: works with $with");
			sound("$what: sound after it worked", $index, $table);
			last;
		}
		$failed++;
		is($state, '53100', "$what with $with: disk full");
		sound("$what with $with: sound", $index, $table);
	}
	cmp_ok($failed, '>', 0, "$what: failed $failed times before");
}

sub fresh_table
{
	my ($options) = @_;
	small_disk_room(undef);
	$server->safe_psql('postgres', "DROP TABLE IF EXISTS s; CREATE TABLE s AS SELECT * FROM t WHERE id <= 4000;
		CREATE INDEX mih_s ON s USING mih (code) WITH ($options) TABLESPACE small");
}

sub insert_without_room
{
	fresh_table('chunks = 3, pending_pages = 4');
	until_it_works('insert', 'INSERT INTO s SELECT i, draw(i) FROM generate_series(10001, 15000) i', 'mih_s', 's', 0, 1, 2, 4, 5, 6, 9, 20, 30);
	is($server->safe_psql('postgres', 'SELECT count(*) FROM s'), 9000, 'insert: only the last try left rows');
	fresh_table('chunks = 3');
	until_it_works('insert of NULLs', 'INSERT INTO s SELECT -i FROM generate_series(1, 3000) i', 'mih_s', 's', 0, 1);
	$server->safe_psql('postgres', 'VACUUM s');
	is($server->safe_psql('postgres', "SELECT mih_check('mih_s', true)"), 7000, 'VACUUM drops the entries of failed inserts');
}

sub flush_without_room
{
	fresh_table('chunks = 3, pending_pages = 10000');
	$server->safe_psql('postgres', 'INSERT INTO s SELECT i, draw(i) FROM generate_series(10001, 16000) i');
	until_it_works('flush', "SELECT mih_flush('mih_s')", 'mih_s', 's', 0, 1, 7, 13, 20);
}

sub merge_without_room
{
	fresh_table('chunks = 3, pending_pages = 10000');
	$server->safe_psql('postgres', "INSERT INTO s SELECT i, draw(i) FROM generate_series($_ * 10000, $_ * 10000 + 3000) i" . ($_ < 3 ? "; SELECT mih_flush('mih_s')" : '')) for 1 .. 3;
	# The flush has room, then nothing is left for the merge, or little.
	until_it_works('flush and merge', "SELECT mih_flush('mih_s')", 'mih_s', 's', 16, 17, 20, 30, 45);
	cmp_ok($server->safe_psql('postgres', "SELECT segments FROM mih_stats('mih_s')"), '<', 4, 'merged');
	# Segments of several tables may be rewritten in two steps; either can fail.
	fresh_table('chunks = 3, pending_pages = 10000');
	$server->safe_psql('postgres', "INSERT INTO s SELECT i, draw(i) FROM generate_series($_ * 10000, $_ * 10000 + 4000) i; SELECT mih_flush('mih_s')") for 1 .. 2;
	until_it_works('mih_merge', "SELECT mih_merge('mih_s')", 'mih_s', 's', 0, 1, 3, 8, 15, 25, 33);
	is($server->safe_psql('postgres', "SELECT segments FROM mih_stats('mih_s')"), 1, 'one segment is left');
}

sub vacuum_without_room
{
	fresh_table('chunks = 3, pending_pages = 10000');
	$server->safe_psql('postgres', 'INSERT INTO s SELECT i, draw(i) FROM generate_series(10001, 16000) i; DELETE FROM s WHERE id % 3 = 0');
	until_it_works('vacuum', 'VACUUM s', 'mih_s', 's', 0, 1, 9);
	my (undef, undef, $err) = $server->psql('postgres', "VACUUM s; SELECT mih_check('mih_s')");
	is($err, '', 'VACUUM frees what the failures left');
}

sub build_without_room
{
	fresh_table('chunks = 3');
	for my $sql ('CREATE INDEX mih_new ON t USING mih (code) TABLESPACE small', 'REINDEX INDEX mih_s', 'REINDEX INDEX CONCURRENTLY mih_s',
		'CREATE INDEX CONCURRENTLY mih_new ON t USING mih (code) WITH (chunks = 4) TABLESPACE small')
	{
		my $before = used();
		my @rooms = $sql =~ /REINDEX/ ? (0, 1, 10, 25) : (0, 1, 10, 30);
		for my $blocks (@rooms)
		{
			small_disk_room($blocks);
			is(state_of($sql), '53100', "$sql with room for $blocks blocks: disk full");
			small_disk_room(undef);
			$server->safe_psql('postgres', "DROP INDEX $_") for split /\n/, $server->safe_psql('postgres', 'SELECT indexrelid::regclass FROM pg_index WHERE NOT indisvalid');
			sound('the old index serves', 'mih_s', 's');
		}
		cmp_ok(used(), '<=', $before + 16, 'nothing is left on the disk');
		is(state_of($sql), '00000', "$sql works with room");
		sound('the new one is sound', $sql =~ /(mih_\w+)/, $sql =~ /mih_s/ ? 's' : 't');
		$server->safe_psql('postgres', 'DROP INDEX IF EXISTS mih_new');
	}
}

# Files that are gone are truncated at once and removed by a checkpoint.
sub used
{
	$server->safe_psql('postgres', 'CHECKPOINT');
	return small_disk_used();
}

sub temporary_files_without_room
{
	my $before = used();
	for my $blocks (0, 1, 30)
	{
		small_disk_room($blocks);
		is(state_of("SET temp_tablespaces = small; SET maintenance_work_mem = '1MB'; CREATE INDEX mih_new ON t USING mih (code)"),
			'53100', "build with room for $blocks blocks of temporary files: disk full");
	}
	small_disk_room(undef);
	is(used(), $before, 'no temporary file is left');
}

# What a session may write to temporary files is limited: builds and checks beyond
# it fail clearly, and work without the limit.
sub temporary_file_limit
{
	my $small = "SET maintenance_work_mem = '1MB'; SET temp_file_limit = '100kB';";
	is(state_of("$small CREATE INDEX mih_new ON t USING mih (code)"), '53400', 'build: limit of temporary files');
	is(state_of("SET maintenance_work_mem = '1MB'; CREATE INDEX mih_t ON t USING mih (code) WITH (pending_pages = 10000, chunks = 3)"), '00000', 'build without it');
	sound('built', 'mih_t', 't');
	is(state_of("$small REINDEX INDEX mih_t"), '53400', 'reindex: limit of temporary files');
	sound('the old index serves', 'mih_t', 't');
	$server->safe_psql('postgres', 'INSERT INTO t SELECT i, draw(i) FROM generate_series(1000001, 1080000) i');
	is(state_of("$small SELECT mih_check('mih_t', true)"), '53400', 'mih_check: limit of temporary files');
	is(state_of("$small SELECT mih_flush('mih_t')"), '00000', 'flush, which reads its source again instead');
	sound('flush that worked', 'mih_t', 't');
	is($server->safe_psql('postgres', "SELECT count(*) FROM pg_ls_tmpdir()"), 0, 'no temporary file is left');
	$server->safe_psql('postgres', 'DROP INDEX mih_t; DELETE FROM t WHERE id > 1000000; VACUUM FULL t');
}
