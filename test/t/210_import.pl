# deephash-train import and classify from the command line: a file made here, and the
# developers' weights and photographs where they are (DEEPHASH_DATA).
use strict;
use warnings;
use FindBin;
use File::Temp qw(tempdir);
use IPC::Run qw(run timeout);
use Test::More;

my $program = "$FindBin::RealBin/../../build/bin/deephash-train";
my $dir = tempdir(CLEANUP => 1);
my ($status, $out, $err);

sub tool
{
	my ($out, $err);

	run([ $program, @_ ], '<', \undef, '>', \$out, '2>', \$err, timeout(900));
	return ($? >> 8, $out, $err);
}

# Tensors of a tiny vision transformer in half precision: 0.25 everywhere.
my %shape = (
	cls_token => [ 1, 1, 192 ],
	pos_embed => [ 1, 5, 192 ],
	'patch_embed.proj.weight' => [ 192, 3, 8, 8 ],
	'patch_embed.proj.bias' => [192],
	'head.weight' => [ 3, 192 ],
	'head.bias' => [3],
	map({ ("$_.weight" => [192], "$_.bias" => [192]) } 'norm', 'blocks.0.norm1', 'blocks.0.norm2'),
	'blocks.0.attn.qkv.weight' => [ 576, 192 ],
	'blocks.0.attn.qkv.bias' => [576],
	'blocks.0.attn.proj.weight' => [ 192, 192 ],
	'blocks.0.attn.proj.bias' => [192],
	'blocks.0.mlp.fc1.weight' => [ 768, 192 ],
	'blocks.0.mlp.fc1.bias' => [768],
	'blocks.0.mlp.fc2.weight' => [ 192, 768 ],
	'blocks.0.mlp.fc2.bias' => [192],);

sub write_weights
{
	my ($path, %shape) = @_;
	my ($at, @entries) = (0);

	for my $name (sort keys %shape)
	{
		my $n = 1;
		$n *= $_ for @{ $shape{$name} };
		push @entries, sprintf('"%s":{"dtype":"F16","shape":[%s],"data_offsets":[%d,%d]}',
			$name, join(',', @{ $shape{$name} }), $at, $at + 2 * $n);
		$at += 2 * $n;
	}
	my $header = '{' . join(',', @entries) . '}';
	open my $f, '>:raw', $path or die "$path: $!";
	print $f pack('Q<', length $header), $header, pack('v', 0x3400) x ($at / 2);
	close $f;
}

write_weights("$dir/weights", %shape);
my @import = ('import', "$dir/weights", '--arch', 'vit-ti', '--size', 16, '--set', 'depth=1');

($status, $out, $err) = tool(@import, '--out', "$dir/model");
is($status, 0, 'import of half precision weights') or diag($err);
like($err, qr/^patch=8: /m, 'the patch is seen from the file');
like($err, qr/^3 classes, /m, 'and the number of classes');
like($out, qr/vit-ti patch=8 depth=1, 484035 parameters, 3 outputs, written to/, 'it is told');

($status, $out, $err) = tool('inspect', '--json', "$dir/model");
like($out, qr/"architecture":\s*"vit-ti patch=8 depth=1"/, 'the model knows what it is');
like($out, qr/"imported_from":\s*"weights"/, 'and where it comes from, without folders');

($status, $out, $err) = tool('import', "$dir/model", '--arch', 'vit-ti', '--size', 32, '--set',
	'depth=1', '--head', 'hash', '--outputs', 48, '--out', "$dir/hash");
is($status, 0, 'a model file comes in as weights do') or diag($err);
like($err, qr/^pos_embed: interpolated from 2x2 to 4x4 positions$/m, 'at another size');
like($err, qr/^head left out: head\.weight \(3x192\)$/m, 'with a head of its own');

($status, $out, $err) = tool('synth', '--classes', 3, '--per-class', 4, '--size', 16,
	"$dir/pictures");
($status, $out, $err) = tool('encode', '--model', "$dir/hash", '--data', "folder:$dir/pictures");
is($status, 0, 'the model encodes') or diag($err);
is(scalar(() = $out =~ /^\S+\t[0-9a-f]{12}$/mg), 12, 'every picture');

open my $names, '>', "$dir/names" or die;
opendir(my $folder, "$dir/pictures") or die;
print $names "$_ of the pictures\n" for sort grep { !/^\./ } readdir $folder;
close $names;
my @classify = ('classify', '--model', "$dir/model", '--data', "folder:$dir/pictures");
($status, $out, $err) = tool(@classify, '--classes', "$dir/names", '--list');
is($status, 0, 'classify') or diag($err);
# all logits are equal: the first class wins everywhere
like($out, qr/^pictures  12\ntop-1     0\.3333\ntop-5     1\.0000$/m, 'counts right answers');
is(scalar(() = $out =~ /^\S+(?:\t0\.333 [^\t]+ of the pictures){3}$/mg), 12, 'lists them');
($status, $out, $err) = tool(@classify);
is($status, 1, 'labels that are no numbers');
like($err, qr/is not the number of an output, 0 to 2: give --classes/, 'are told');
open $names, '>>', "$dir/names" or die;
print $names "one more\n";
close $names;
($status, $out, $err) = tool(@classify, '--classes', "$dir/names");
like($err, qr/has more than 3 lines, but the model has 3 outputs/, 'too many classes');

# ------------------------------------------------- weights that training begins from
my @train = ('train', '--data', "folder:$dir/pictures", '--protocol', 'none', '--bits', 16,
	'--epochs', 1, '--batch', 4, '--size', 24, '--rate', 1e-3);
($status, $out, $err) = tool(@train, '--arch', 'vit-ti depth=1', '--pretrained', "$dir/weights",
	'--out', "$dir/tuned");
is($status, 0, 'training begins from them') or diag($err);
like($err, qr/^patch=8: the file's patches$/m, 'as the file shows');
($status, $out, $err) = tool('inspect', '--json', "$dir/tuned");
like($out, qr/"architecture":\s*"vit-ti patch=8 depth=1"/, 'the model is of that architecture');
like($out, qr/"filter":\s*"bicubic"/, 'with its preparation of pictures');
($status, $out, $err) = tool(@train, '--arch', 'vit-ti depth=2', '--pretrained', "$dir/weights",
	'--out', "$dir/never");
is($status, 1, 'weights of another depth');
like($err, qr/network\.pretrained: .*12 missing, 0 surplus, .*first: missing blocks\.1/,
	'are refused by the name of the setting');
($status, $out, $err) = tool(@train, '--arch', 'resnet18 stem=cifar', '--out', "$dir/resnet");
is($status, 0, 'another architecture') or diag($err);
like($err, qr/; resnet18 stem=cifar of /, 'is told');

# ---------------------------------------------------------------- autoencoders
($status, $out, $err) = tool(@train, '--arch', 'csvae', '--loss', 'vae', '--size', 32, '--out',
	"$dir/csvae");
is($status, 0, 'an autoencoder') or diag($err);
($status, $out, $err) = tool('inspect', "$dir/csvae");
like($out, qr/simam.*\n(?:.*\n)*.*\bmu\n.*total/, 'its model is the encoder');
unlike($out, qr/decoder/, 'alone');
like($out, qr/"has_thresholds":\s*true/, 'with a threshold for each bit');
($status, $out, $err) = tool('encode', '--model', "$dir/csvae", '--data', "folder:$dir/pictures");
my $on = unpack('%32b*', pack('H*', join '', $out =~ /\t([0-9a-f]{4})$/mg));
ok($on > 0.3 * 12 * 16 && $on < 0.7 * 12 * 16, "about half of the bits are on: $on of 192");
($status, $out, $err) = tool(@train, '--arch', 'csvae', '--size', 32, '--out', "$dir/never");
like($err, qr/arch = csvae and loss\.kind = orthohash do not go together/,
	'a loss that does not suit it');

# ------------------------------------------------------------------- refusals
write_weights("$dir/odd", %shape, 'norm.weight' => [ 2, 96 ], extra => [7], cls_token => [192]);
($status, $out, $err) =
  tool('import', "$dir/odd", @import[ 2 .. $#import ], '--out', "$dir/never", '--set', 'depth=2');
is($status, 1, 'weights that do not fit are refused');
like($err, qr/^missing: blocks\.1\.attn\.qkv\.weight \(576x192\)$/m, 'missing ones are named');
like($err, qr/^surplus: extra \(7\)$/m, 'surplus ones');
like($err, qr/^other shape: norm\.weight is 2x96 in the file, 192 in the network$/m,
	'and those of another shape');
like($err, qr/12 missing, 1 surplus, 1 of another shape/, 'and counted');
ok(!-e "$dir/never", 'no model is written');

($status, $out, $err) = tool('import', "$dir/none", '--arch', 'vit-ti');
like($err, qr/^deephash-train import: .*none.*No such file/, 'no file');
is((tool('import', "$dir/weights"))[0], 2, 'no architecture');
is((tool('import', "$dir/weights", '--arch', 'vit-xl'))[0], 2, 'no such architecture');
is((tool(@import, '--head', 'foot'))[0], 2, 'no such head');
is((tool(@import, '--mean', '0.5,0.5'))[0], 2, 'two colours');
($status, $out, $err) = tool(@import, '--set', 'patch=5');
like($err, qr/16x16 pixels cannot be cut into patches of 5x5/, 'a patch that does not fit');
($status, $out, $err) = tool('import', '--help');
like($out, qr/resnet18.*\n.*stem .*imagenet\|cifar/, 'help lists architectures and parameters');

# ------------------------------------------------------------ the developers' data
SKIP:
{
	my $data = $ENV{DEEPHASH_DATA} // "$FindBin::RealBin/../../../shared/data";

	skip "no weights in $data (set DEEPHASH_DATA)", 9
	  unless -e "$data/deit_tiny_patch16_224.safetensors" && -e "$data/imagenet_photos.tar";
	($status, $out, $err) = tool('import', "$data/deit_tiny_patch16_224.safetensors", '--arch',
		'vit-ti', '--out', "$dir/deit");
	is($status, 0, 'DeiT-Tiny') or diag($err);
	mkdir "$dir/photos";
	run([ 'tar', '-xf', "$data/imagenet_photos.tar", '-C', "$dir/photos" ]);
	open my $in, '<', "$dir/photos/labels.txt" or die;
	open my $manifest, '>', "$dir/photos/manifest" or die;
	print $manifest s/ /\t/r while <$in>;
	close $manifest;
	run([ 'head', '-n', 40, "$dir/photos/manifest" ], '>', "$dir/photos/some");
	($status, $out, $err) =
	  tool('classify', '--model', "$dir/deit", '--data', "manifest:$dir/photos/manifest");
	like($out, qr/^top-1     0\.8160\ntop-5     0\.9440$/m, 'as right as in PyTorch');
	open $manifest, '>', "$dir/photos/manifest" or die;
	print $manifest "img/n01440764.jpg\tn01440764\nimg/n01494475.jpg\tn01494475\n";
	close $manifest;
	($status, $out, $err) = tool('classify', '--model', "$dir/deit", '--data',
		"manifest:$dir/photos/manifest", '--classes', "$dir/photos/classes.txt", '--list');
	like($out, qr/^\S+\t0\.7\d\d n01440764 tench/m, 'a tench') or diag($err);

	my @cut = ('import', "$data/resnet18_stages1to3_folded.safetensors", '--arch', 'resnet18');
	($status, $out, $err) = tool(@cut, '--out', "$dir/cut");
	is($status, 1, 'a network cut short is refused');
	like($err, qr/^missing: layer4\.1\.bn2\.running_var \(512\)$/m, 'its last stage is missing');
	($status, $out, $err) = tool(@cut, '--partial', '--head', 'hash', '--out', "$dir/cut");
	is($status, 0, 'a part when asked') or diag($err);
	($status, $out, $err) =
	  tool(@cut, '--set', 'stages=3', '--head', 'features', '--fold', '--thresholds',
		"manifest:$dir/photos/some", '--out', "$dir/three");
	is($status, 0, 'or three stages, whole') or diag($err);
	($status, $out, $err) =
	  tool('encode', '--model', "$dir/three", '--data', "manifest:$dir/photos/some");
	my $ones = unpack('%32b*', pack('H*', join '', $out =~ /\t([0-9a-f]{64})$/mg));
	cmp_ok($ones, '>', 0.35 * 256 * 40, 'which encode with bits that are on');
	cmp_ok($ones, '<', 0.65 * 256 * 40, 'and off');
}

done_testing();
