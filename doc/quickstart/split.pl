# split.pl IMAGES DEST: link the JPEG files of a folder of class folders into
# DEST/database and DEST/query, every tenth (at most 50 of a class, at least
# one) into query.
use strict;
use warnings;
use Cwd qw(abs_path);
use File::Path qw(make_path);

my ($images, $dest) = @ARGV;
$images = abs_path($images);
my %class;
for my $name (entries($images))
{
	next unless -d "$images/$name";
	my @files = grep { /\.jpe?g$/i && -f "$images/$name/$_" } entries("$images/$name");
	$class{$name} = [ sort @files ] if @files;
}
my @loose = grep { /\.jpe?g$/i } entries($images);
my $hint = "what is needed: $images/CLASS/PICTURE.jpg, one folder per class";
give_up("there is no JPEG file (.jpg, .jpeg) below $images", $hint) unless %class || @loose;
give_up("the pictures of $images lie in one heap, so their classes are unknown", $hint) unless %class;
give_up("there is one class only below $images; learning what is alike takes two at least", $hint) if keys %class < 2;

for my $name (sort keys %class)
{
	my @files = @{ $class{$name} };
	give_up("class $name has a single picture; each needs two at least, ten times as many to learn from") if @files < 2;
	my $every = @files < 10 ? scalar @files : 10;
	my $held = 0;
	(my $class = $name) =~ tr/\x00-\x1f\x7f/_/;
	make_path("$dest/database/$class", "$dest/query/$class");
	for my $i (0 .. $#files)
	{
		my $to = $i % $every == $every - 1 && $held < 50 ? 'query' : 'database';
		$held++ if $to eq 'query';
		(my $file = $files[$i]) =~ tr/\x00-\x1f\x7f/_/;
		symlink "$images/$name/$files[$i]", "$dest/$to/$class/$file" or die "cannot link $files[$i]: $!\n";
	}
}

sub entries
{
	my ($dir) = @_;
	opendir my $d, $dir or give_up("cannot read $dir: $!");
	return grep { !/^\./ } readdir $d;
}

sub give_up
{
	print STDERR "\nquickstart: $_[0]\n", $_[1] ? "            $_[1]\n" : '';
	exit 1;
}
