#!/bin/bash
# pack.sh FOLDER: for gpu/check --pack: builds here, and puts into files in FOLDER what a machine
# with a GPU, the C library (as new as here), CUDA's runtime and cuBLAS needs to run gpu/check:
# programs, plug-in, the private PostgreSQL, all libraries below them, models, pictures.
#   WITH_CIFAR=1     also the archive of CIFAR-10 in DEEPHASH_DATA, in pieces of its own
#   PIECE=44m        no file is larger
set -euo pipefail
cd "$(dirname "$0")/../.."
. gpu/checks/lib.sh
piece=${PIECE:-44m}
mkdir -p "$1"
to=$(cd "$1" && pwd)
for tool in patchelf nvcc make pg_config xz; do
	command -v $tool >/dev/null || { echo "gpu/check --pack: $tool is not installed" >&2; exit 1; }
done

make -s tree build/host-engine/deephash-encoder build/host-engine/deephash-train build/host-engine/deephash-cuda.so build/gpu-parity build/bench/engine build/bench/encode build/bench/peak
stage=$(mktemp -d "${TMPDIR:-/tmp}/deephash-pack.XXXXXX")
trap 'rm -rf "$stage"' EXIT
pack=$stage/deephash-gpu
bindir=$(pg_config --bindir) libdir=$(pg_config --pkglibdir) sharedir=$(pg_config --sharedir)
mkdir -p "$pack/lib" "$pack/bin" "$pack/data" "$pack/bench/results" "$pack/build/lib" \
	"$pack/build/tree$bindir" "$pack/build/tree$libdir" "$pack/build/tree$sharedir"

# ------------------------------------------------------------- what this project has
cp -r --parents gpu/check gpu/checks test/with-cluster.sh test/lib.sh deephash.control bench/*.sh bench/engine bench/encode \
	models/*.safetensors build/bin/deephash-* build/gpu-parity build/bench/engine build/bench/encode build/bench/peak \
	build/share build/host-engine "$pack"
cp build/lib/deephash-cuda.so "$pack/build/lib/"

# ------------------------------------- the private server, without its links to this one
for program in postgres initdb pg_ctl pg_controldata psql createdb dropdb pgbench; do
	cp -L "build/tree$bindir/$program" "$pack/build/tree$bindir/"
done
# Without the compiler of expressions, which needs all of LLVM; the server does without.
(cd "build/tree$libdir" && tar -ch --exclude='llvmjit*' --exclude=bitcode --exclude=pgxs .) | tar -C "$pack/build/tree$libdir" -xf -
(cd "build/tree$sharedir" && tar -ch --exclude=man --exclude=locale .) | tar -C "$pack/build/tree$sharedir" -xf -
cat >"$pack/bin/pg_config" <<SH
#!/bin/sh
# What pg_config says where this was packed; test/lib.sh asks for the folders in build/tree.
case \$1 in
--bindir) echo $bindir ;;
--pkglibdir) echo $libdir ;;
--sharedir) echo $sharedir ;;
--version) echo '$(pg_config --version)' ;;
*) echo "pg_config: \$1 is not known here" >&2; exit 1 ;;
esac
SH
chmod +x "$pack/bin/pg_config"

# ------------------------------------------------------- the libraries below all that
# The C library is the other machine's, and CUDA.
objects() {
	find "$pack" -type f | while read -r file; do
		! head -c 4 "$file" | grep -q ELF || echo "$file"
	done
}
objects >"$stage/objects"
while read -r object; do
	{ LD_LIBRARY_PATH= ldd "$object" 2>/dev/null || true; } | awk '$2 == "=>" && $3 ~ "^/" { print $3 }'
done <"$stage/objects" | sort -u |
	grep -vE '/(ld-linux[^/]*|lib(c|m|dl|rt|pthread|resolv|util|mvec|anl|nsl|cuda|cudart|cublas|cublasLt|cudnn[a-z_]*|nvrtc))\.so' |
	while read -r library; do cp -L "$library" "$pack/lib/"; done

# They are found from where each object lies.  DT_RPATH and not DT_RUNPATH: it counts for the
# libraries' own libraries too.  LD_LIBRARY_PATH would reach the other machine's own programs.
while read -r object; do
	strip --strip-unneeded "$object"
	case $object in
	*/deephash-cuda.so | */peak) ;; # CUDA's folder is there in theirs, and comes from the environment
	*) patchelf --force-rpath --set-rpath "\$ORIGIN/$(realpath -m --relative-to="$(dirname "$object")" "$pack/lib")" "$object" ;;
	esac
done <"$stage/objects"
for library in "$pack"/lib/*; do
	chmod u+w "$library"
	patchelf --force-rpath --set-rpath "\$ORIGIN" "$library"
done

# ------------------------------------------------------------------- data and models
if [ -r "$data/imagenet_photos.tar" ]; then
	# The first hundred are enough to compare codes.
	mkdir "$stage/photos"
	tar -C "$stage/photos" -xf "$data/imagenet_photos.tar"
	(cd "$stage/photos" && tar -cf "$pack/data/imagenet_photos.tar" ./*.txt $(find . -name '*.jpg' | sort | head -n 100))
fi

[ -z "${WITH_CIFAR:-}" ] || cksum <"$data/cifar10.med.xz" >"$pack/cifar10.cksum"
cat >"$pack/PACKED" <<TEXT
packed from commit $(commit)
built on $(sed -n 's/^PRETTY_NAME="\(.*\)"/\1/p' /etc/os-release), glibc $(getconf GNU_LIBC_VERSION | cut -d' ' -f2), nvcc $(nvcc --version | grep -o 'V[0-9.]*$'), $(pg_config --version)
TEXT
chmod -R a+rX,u+w "$pack"

# ------------------------------------------------------------------------------ files
# Whole before they get their names.
files=$stage/files
mkdir "$files"
tar -C "$stage" --owner=0 --group=0 -cf - deephash-gpu | xz -6 -T0 | split -b "$piece" - "$files/deephash-gpu.tar.xz."
cat "$files"/deephash-gpu.tar.xz.* | xz -t
[ -z "${WITH_CIFAR:-}" ] || split -b "$piece" "$data/cifar10.med.xz" "$files/cifar10.med.xz."
cp gpu/checks/run.sh "$files/"
rm -f "$to"/deephash-gpu.tar.xz.* "$to"/cifar10.med.xz.*
mv "$files"/* "$to/"
ls -l "$to" | awk 'NF > 8 { printf "%6.1f MB  %s\n", $5 / 1e6, $9 }'
echo "Unpacked: $(du -sm "$pack" | cut -f1) MB.  On the machine with the GPU: bash FOLDER/run.sh --out RESULTS"
