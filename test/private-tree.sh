#!/bin/sh
# private-tree.sh DEST: lay out a copy of the PostgreSQL installation that
# pg_config names under DEST (same absolute paths below it), so that an
# extension can be installed with DESTDIR=DEST and served from there.
# PostgreSQL finds its share and library folders relative to its binaries, so
# only the binaries are copied; everything else is linked.
set -eu
dest=$1
pg_config=${PG_CONFIG:-pg_config}
bindir=$("$pg_config" --bindir)
pkglibdir=$("$pg_config" --pkglibdir)
sharedir=$("$pg_config" --sharedir)

mkdir -p "$dest$bindir" "$dest$pkglibdir" "$dest$sharedir"
if ! [ -x "$dest$bindir/postgres" ] || [ "$bindir/postgres" -nt "$dest$bindir/postgres" ]; then
	cp -p "$bindir"/* "$dest$bindir/"
fi
for entry in "$pkglibdir"/*; do
	case ${entry##*/} in deephash*|bitcode) continue ;; esac
	ln -sfn "$entry" "$dest$pkglibdir/"
done
for entry in "$sharedir"/*; do
	[ "${entry##*/}" = extension ] || ln -sfn "$entry" "$dest$sharedir/"
done
mkdir -p "$dest$sharedir/extension"
for entry in "$sharedir"/extension/*; do
	case ${entry##*/} in deephash*) continue ;; esac
	ln -sfn "$entry" "$dest$sharedir/extension/"
done
