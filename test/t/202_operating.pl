# doc/operating.md against a server: the settings with their defaults, the columns of
# the views, the functions, and its SQL.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use Deephash;
use EncoderTest;
use Test::More;

my $text = do { local (@ARGV, $/) = top() . '/doc/operating.md'; <> };
my $server = new_server('main', conf => "shared_preload_libraries = 'deephash'\n");
load_models($server);

sub section
{
	my ($title) = @_;
	return $text =~ /^## \Q$title\E$(.*?)(?=^## |\z)/ms ? $1 : die "no section $title";
}

# ------------------------------------------------------------------- settings
my %unit = (kB => 1 << 10, MB => 1 << 20, GB => 1 << 30, ms => 1, s => 1000, million => 1000000);

# A default as the table has it, in the smallest unit.
sub plain
{
	my ($value) = @_;
	$value =~ s/`//g;
	return '' if $value eq 'empty';
	return $1 * $unit{$2} if $value =~ /^(\d+) (\w+)$/ && $unit{$2};
	return $value;
}

my %cell = section('Settings') =~ /^\| `(\w+)` \| ([^|]+) \|/mg;
my %documented = map { $_ => plain($cell{$_}) } keys %cell;
my %real = map { /^(\w+)\|(.*)$/ } split /\n/, $server->safe_psql('postgres',
	"SELECT substr(name, 10), CASE unit WHEN 'kB' THEN (boot_val::int8 << 10)::text WHEN 'MB' THEN (boot_val::int8 << 20)::text ELSE boot_val END
	 FROM pg_settings WHERE name LIKE 'deephash.%'");
cmp_ok(scalar keys %real, '>=', 17, 'there are settings');
is(join(' ', sort keys %documented), join(' ', sort keys %real), 'the settings are those of the document');
is($documented{$_}, $real{$_}, "default of deephash.$_") for sort keys %real;

# ------------------------------------------------------------ views, functions
for my $view (qw(deephash_service deephash_service_models deephash_stats deephash_progress))
{
	my ($about) = section('Views and functions') =~ /^`$view`:(.*?)(?=^`deephash_|\z)/ms;
	ok($about, "$view has a place") or next;
	for my $column (split /\n/, $server->safe_psql('postgres', "SELECT attname FROM pg_attribute WHERE attrelid = '$view'::regclass AND attnum > 0"))
	{
		# Percentiles share a row: `queue_p50`, `_p95`, `_p99`.
		my ($percentile) = $column =~ /(_p\d+)$/;
		my $named = $about =~ /`$column`/ || ($percentile && $about =~ /`$percentile`/);
		ok($named, "$view.$column is told");
	}
}
my %functions = map { $_ => 1 } $text =~ /\b(deephash_\w+)\(/g;
ok(keys %functions >= 5, 'functions are named');
is($server->safe_psql('postgres', "SELECT count(*) > 0 FROM pg_proc WHERE proname = '$_'"), 't', "$_() is there") for sort keys %functions;

# --------------------------------------------------------------- its statements
my @sql = $text =~ /^```sql\n(.*?)^```/msg;
cmp_ok(scalar @sql, '>=', 5, 'there are statements');
for my $sql (@sql)
{
	my ($status, undef, $error) = $server->psql('postgres', $sql);
	is("$status$error", '0', (split /\n/, $sql)[0]);
}
$server->stop;
done_testing();
