# property_notices.pl: the test of the property test.  With one row of each
# table hidden from its index, every round of property.pl must fail, by its
# queries and by mih_check.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/t";
use Deephash;
use Test::More;

$ENV{DEEPHASH_PROPERTY_SABOTAGE} = 1;
$ENV{DEEPHASH_ROUNDS} = 5;
$ENV{DEEPHASH_SEED} ||= 1;
$ENV{DEEPHASH_SCRATCH} = 'property_sabotaged';
delete $ENV{DEEPHASH_ROUND};

my $output = `$^X $FindBin::RealBin/property.pl 2>&1`;
isnt($?, 0, 'it fails when an entry is missing');
for my $round (1 .. 5)
{
	my ($part) = $output =~ /^(not ok $round - round.*?)(?=^ok|^not ok|\z)/ms;
	like($part // '', qr/DIFFERS: .*rows, right are/, "round $round: a query notices");
	like($part // '', qr/DIFFERS: mih_check: /, "round $round: mih_check notices");
}
diag($output) unless Test::More->builder->is_passing;
done_testing();
