#!/bin/bash
# run.sh [--store] [OPTION]...: unpacks what `gpu/check --pack` put beside it and runs gpu/check there,
# with these options.  Where not all files fit into one transfer, each transfer has this script and
# some of them, and all but the last call it with --store.
set -eu
CHECK_BEGAN=$(date +%s)
export CHECK_BEGAN
from=$(cd "$(dirname "$0")" && pwd)
store=${TMPDIR:-/tmp}/deephash-gpu-files
to=${TMPDIR:-/tmp}/deephash-gpu
mkdir -p "$store"
cp "$from"/*.xz.* "$store/"
if [ "${1:-}" = --store ]; then
	ls -l "$store"
	exit 0
fi
if ! cat "$store"/deephash-gpu.tar.xz.* | cksum | cmp -s - "$to/unpacked"; then
	rm -rf "$to"
	if command -v xz >/dev/null; then
		cat "$store"/deephash-gpu.tar.xz.* | tar -C "$(dirname "$to")" -xJf -
	else
		cat "$store"/deephash-gpu.tar.xz.* | python3 -c 'import sys, tarfile
tarfile.open(fileobj=sys.stdin.buffer, mode="r|xz").extractall(sys.argv[1])' "$(dirname "$to")"
	fi
	cat "$store"/deephash-gpu.tar.xz.* | cksum >"$to/unpacked"
fi
# An archive of which a piece is missing is of no use.
if ls "$store"/cifar10.med.xz.* >/dev/null 2>&1 && ! [ -f "$to/data/cifar10.med.xz" ]; then
	cat "$store"/cifar10.med.xz.* >"$to/data/cifar10.med.xz"
	[ "$(cksum <"$to/data/cifar10.med.xz")" = "$(cat "$to/cifar10.cksum")" ] || {
		echo 'run.sh: pieces of cifar10.med.xz are missing: going on without it' >&2
		rm "$to/data/cifar10.med.xz"
	}
fi
exec "$to/gpu/check" "$@"
