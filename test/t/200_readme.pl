# The README's commands are run as they stand, but for the paths, which become a
# folder of drawn pictures, and the training time.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use Deephash;
use Test::More;

my $scratch = $ENV{TESTDIR};
my $readme = do { local (@ARGV, $/) = top() . '/README.md'; <> };

# The fenced blocks of one language, in order.
sub blocks
{
	my ($language) = @_;
	return $readme =~ /^```$language\n(.*?)^```/msg;
}

sub run_shell
{
	my ($command) = @_;
	my $output = `cd $scratch && { $command; } 2>&1`;
	is($?, 0, $command) or diag($output);
	return $output;
}

# Every make target that the README names is there; what they do is tested by
# those who own them.
my %targets = map { $_ => 1 } $readme =~ /(?:`|^)make ([a-z-]+)/mg;
ok(keys %targets >= 4, 'the README names make targets');
for my $target (sort keys %targets)
{
	my $output = `make -n -C @{[top()]} $target 2>&1`;
	is($?, 0, "make $target is a target") or diag($output);
}

# Training on one's own pictures: a folder per class.
run_shell("deephash-train synth --classes 3 --per-class 24 --size 48 pictures");
my @training = grep { /^deephash-train/ } map { split /\n/ } blocks('sh');
ok(@training >= 3, 'the README trains');
for my $command (@training)
{
	$command =~ s{/my/pictures}{$scratch/pictures}g;
	$command =~ s{--minutes \d+}{--epochs 2 --width 8,8,8}g;
	run_shell($command);
}
ok(-s "$scratch/photos.safetensors", 'training wrote a model');

# The tour in SQL.
my @pictures = sort glob "$scratch/pictures/*/*.jpg";
mkdir "$scratch/photos";
for my $i (0 .. $#pictures)
{
	link $pictures[$i], "$scratch/photos/$i.jpg" or die "cannot link: $!";
}
my $server = new_server('main', extension => 0);
my @tour = blocks('sql');
ok(@tour >= 2, 'the README has a tour in SQL');
for my $sql (@tour)
{
	$sql =~ s{/srv/models/photos\.safetensors}{$scratch/photos.safetensors}g;
	$sql =~ s{/srv/photos}{$scratch/photos}g;
	$sql =~ s{/srv/query\.jpg}{$pictures[0]}g;
	my ($status, $out, $err) = $server->psql('postgres', $sql);
	is($status, 0, 'the tour runs: ' . substr($sql, 0, 40)) or diag($err);
	is($err =~ s/^(psql:\S+ )?NOTICE: .*\n?//mgr, '', 'and raises nothing');
}
is($server->safe_psql('postgres', 'SELECT count(*) FROM photo WHERE code IS NOT NULL'),
	scalar @pictures, 'the trigger encoded every picture');
is( $server->safe_psql(
		'postgres', "SELECT string_agg(url, ',') FROM seen WHERE phash <@ hashball('c3d1e0f07e3c1803', 2)"),
	'a,b', 'the ball holds the near ones');
$server->stop;
done_testing();
