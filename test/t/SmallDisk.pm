# SmallDisk.pm: a disk of a few megabytes that a test can fill.
#
#   use Deephash;
#   use SmallDisk;         # after Deephash, before anything else
#   skip ... unless small_disk();    # its folder, or undef
#   small_disk_room(3);    # so many free blocks of 8 kB; undef: all
#   small_disk_used();     # kB
#
# The disk is a tmpfs, mounted in a name space of the test's own, so that it takes
# no privilege and goes with the test.  The program begins anew inside; where user
# name spaces are forbidden it goes on without a disk.
package SmallDisk;

use strict;
use warnings;
use Deephash;
use Cwd qw(abs_path);
use Exporter 'import';
use File::Basename qw(basename);

our @EXPORT = qw(small_disk small_disk_room small_disk_used);

my $disk = top() . '/build/tap/disk_' . basename($0, '.pl');

# Root of the outer name space mounts; as the server refuses root, an inner one
# gives us our own number back.
sub enter
{
	my ($uid, $gid) = ($> + 0, $) + 0);
	my @enter = (qw(unshare --user --map-root-user --mount sh -c),
		'mount -t tmpfs -o size=64m,mode=0777 none "$1" && shift && exec unshare --user --map-user="$1" --map-group="$2" "$3" "$4"',
		'sh', $disk, $uid, $gid);
	mkdir $disk;
	$ENV{DEEPHASH_SMALL_DISK} = 'none';
	open my $err, '>&', \*STDERR;
	open STDERR, '>', '/dev/null';
	my $no = system @enter, 'true', '';
	open STDERR, '>&', $err;
	return if $no;
	$ENV{DEEPHASH_SMALL_DISK} = $disk;
	exec @enter, $^X, abs_path($0);
}

sub small_disk { return $disk }

sub df
{
	return (`df -k --output=$_[0] "$disk"` =~ /(\d+)\s*$/)[0];
}

sub small_disk_used { return df('used') }

sub small_disk_room
{
	my ($blocks) = @_;
	unlink "$disk/ballast";
	return unless defined $blocks;
	my $ballast = df('avail') - 8 * $blocks;
	system('fallocate', '-l', "${ballast}k", "$disk/ballast") == 0 or die 'cannot fill the disk' if $ballast > 0;
}

# While the program is compiled, before the server's modules take hold of the output.
enter() unless $ENV{DEEPHASH_SMALL_DISK};
$disk = undef if $ENV{DEEPHASH_SMALL_DISK} ne $disk;
delete $ENV{DEEPHASH_SMALL_DISK};

1;
