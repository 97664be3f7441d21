#!/bin/bash
# static.sh: the rules of doc/architecture.md that a machine can check, on the
# sources and on what was built.  Speaks TAP.
set -u
shopt -s lastpipe # result counts in this shell, not in a pipe's
cd "$(dirname "$0")/.."
top=$PWD
number=0

# result NAME: ok when the standard input is empty, else not ok with it.
result() {
	local found
	found=$(cat)
	number=$((number + 1))
	if [ -z "$found" ]; then
		echo "ok $number - $1"
	else
		echo "not ok $number - $1"
		printf '%s\n' "$found" | head -n 40 | sed 's/^/# /'
	fi
}
skip() {
	number=$((number + 1))
	echo "ok $number - $1 # SKIP $2"
}

sources() { find "$@" -name '*.[ch]' -o -name '*.cu' -o -name '*.cuh' 2>/dev/null | sort; }
existing() { for d in "$@"; do [ ! -e "$d" ] || echo "$d"; done; }
includes() { grep -nE '^[[:space:]]*#[[:space:]]*include' "$@" /dev/null; }

plain=$(existing src/hamming src/image src/nn src/service gpu training)
ours=$(existing src gpu training test/unit bench)

# --------------------------------------------------------------------- layers
includes $(sources $plain) |
	grep -E '["<](postgres|fmgr\.h|c\.h|libpq|utils/|access/|catalog/|storage/|executor/|nodes/|miscadmin|compat\.h)' |
	result 'plain C folders include no PostgreSQL header'

# may FOLDER ALLOWED...: the project's headers that FOLDER includes lie in it or
# in the ALLOWED ones (names of folders, or of single headers).
may() {
	local folder=$1 allowed=$1 file
	shift
	for file in "$@"; do allowed="$allowed|$file"; done
	allowed=$(printf '%s' "$allowed" | sed 's#src/##g')
	includes $(sources "$folder") |
		grep -E '"(src/)?(hamming|image|nn|hashcode|mih|model|encoder|service|gpu|training)/' |
		grep -vE "\"(src/)?($allowed)(/|\")" || true
}
{
	may src/hamming
	may src/image
	may src/nn
	may src/hashcode hamming
	may src/mih hamming hashcode
	may src/model hamming hashcode encoder service/protocol.h
	may src/encoder hamming hashcode model service/protocol.h
	may src/service hamming image nn
	# gpu/parity is a program that compares the plug-in with what training has.
	[ ! -d gpu ] || may gpu nn | grep -v '^gpu/parity/'
	[ ! -d gpu ] || may gpu/parity nn gpu training
	[ ! -d training ] || may training hamming image nn
} | result 'includes go downward only'

includes $(sources $ours) | grep -E '"\.\./' | result 'no include climbs out of its folder'

grep -nE 'PG_VERSION_NUM|PG_MAJORVERSION' $(sources $ours) /dev/null | grep -v '^src/compat\.h:' |
	result 'only src/compat.h tests the server version'

[ ! -f build/lib/libdeephash.a ] || nm -A -u build/lib/libdeephash.a |
	grep -E ' U (_?exit|_Exit|quick_exit|abort|puts|putchar|v?printf|__v?printf_chk|stdout|stderr|perror)$' |
	result 'the libraries neither print nor exit'

# -------------------------------------------------------------------- sources
grep -nwE 'TODO|FIXME|XXX' $(git ls-files 2>/dev/null | grep -vE '^test/(static\.sh|run|FailureReport\.pm)$|\.(jpg|safetensors|out)$' || sources $ours) /dev/null 2>/dev/null |
	grep -vE 'XXXXXX' | result 'no unfinished-work mark'

grep -nE -- '-march=native|-ffast-math' Makefile build.mk $(sources $ours) | grep -vE ':[[:space:]]*(#|\*|//)' |
	result 'no flag that ties a binary to one machine'

git ls-files -ci --exclude-standard 2>/dev/null | result 'nothing is in the repository that is built'

find src gpu training test sql bench doc models -type f -size +4096k 2>/dev/null | result 'no file above 4 MiB'

for script in test/*.sh test/run .ci/run doc/quickstart/*.sh bench/*.sh gpu/check gpu/checks/*.sh; do
	[ -f "$script" ] || continue
	case $(head -n 1 "$script") in
		*perl*) perl -c "$script" >/dev/null 2>&1 || echo "$script" ;;
		*bash*) bash -n "$script" 2>&1 ;;
		*) sh -n "$script" 2>&1 ;;
	esac
done | result 'scripts parse'
if command -v python3 >/dev/null; then
	python3 -c 'import ast, sys
for name in sys.argv[1:]: ast.parse(open(name).read(), name)' $(find bench -name '*.py') 2>&1 | result 'Python parses'
else
	skip 'Python parses' 'there is no python3'
fi

# Where there is no GPU, gpu/check says so and is no failure; what it is asked for is checked all the same.
if nvidia-smi -L >/dev/null 2>&1; then
	skip 'gpu/check without a GPU' 'there is one'
else
	{
		said=$(gpu/check 2>&1) || echo "ended with $?"
		case $said in *'skipped, nothing was compared: no GPU here'*) ;; *) printf '%s\n' "$said" ;; esac
		for wrong in '--stages nonsense' '--limit soon' --nonsense; do
			gpu/check $wrong >/dev/null 2>&1
			[ $? = 2 ] || echo "takes $wrong"
		done
		for stage in $(sed -n "s/^all='\(.*\)'/\1/p" gpu/check); do
			[ -f "gpu/checks/$stage.sh" ] || echo "there is no gpu/checks/$stage.sh"
		done
	} | result 'gpu/check without a GPU says that nothing was compared'
fi

formatter=$(command -v clang-format-14 || command -v clang-format)
if [ -n "$formatter" ] && "$formatter" --version | grep -q 'version 14\.'; then
	for file in $(sources $ours); do
		"$formatter" --dry-run -Werror "$file" >/dev/null 2>&1 || echo "$file"
	done | result 'sources are formatted as .clang-format says'
else
	skip 'sources are formatted as .clang-format says' 'clang-format 14 is not installed'
fi

# ------------------------------------------------------------------- products
# OpenBLAS starts threads when it is loaded and a decoder of untrusted bytes does
# not belong in a server process: the module may need the C library only.
objdump -p deephash.so | awk '$1 == "NEEDED" { print $2 }' |
	grep -vE '^(libc\.so|libm\.so|ld-linux|libpthread\.so|libgcc_s)' | result 'deephash.so links the C library only'

# Symbols that a server already has would be taken from it, not from us.
stage=$(mktemp -d)
trap 'rm -rf "$stage"' EXIT
make --no-print-directory install DESTDIR="$stage" >"$stage.log" 2>&1 || cat "$stage.log"
rm -f "$stage.log"
pg_config=${PG_CONFIG:-pg_config}
lib=$("$pg_config" --pkglibdir)
share=$("$pg_config" --sharedir)/extension
version=$(sed -n "s/^default_version *= *'\(.*\)'/\1/p" deephash.control)
{
	[ -f "$stage$lib/deephash.so" ] || echo 'deephash.so is missing'
	[ -f "$stage$share/deephash.control" ] || echo 'deephash.control is missing'
	[ -f "$stage$share/deephash--$version.sql" ] || echo "deephash--$version.sql is missing"
	[ ! -f build/bin/deephash-encoder ] || [ -x "$stage$lib/deephash-encoder" ] || echo 'deephash-encoder is missing'
	[ ! -f build/bin/deephash-train ] || [ -x "$stage$("$pg_config" --bindir)/deephash-train" ] || echo 'deephash-train is missing'
	[ -f "$stage$("$pg_config" --bindir)/../share/deephash/recipes/cpu-30min.ini" ] || echo 'cpu-30min.ini is missing'
	find "$stage" -type f ! -name 'deephash*' ! -name 'README*' ! -path '*/share/deephash/recipes/*.ini'
} | result 'make install DESTDIR=... puts each file in its place and no other'
strings -a "$stage$lib/deephash.so" | grep -F "$stage" | result 'the installed module does not know the staging folder'

echo "1..$number"
