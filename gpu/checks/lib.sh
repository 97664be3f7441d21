#!/bin/bash
# lib.sh: sourced by gpu/check and its stages, whose current folder is the project's top or
# that of a pack.

top=$PWD
PATH=$PATH:/usr/local/cuda/bin:/usr/local/nvidia/bin
export top PATH
# A pack names the folders of the PostgreSQL in it as pg_config would.
if [ -x bin/pg_config ]; then
	PATH=$top/bin:$PATH
	export PG_CONFIG=$top/bin/pg_config
fi

python_with_torch() {
	local candidate
	for candidate in ${PYTHON:-} python3 /usr/bin/python3; do
		"$candidate" -c 'import torch' 2>/dev/null && { echo "$candidate"; return 0; }
	done
	return 1
}
python_about() {
	local python
	python=$(python_with_torch) || { echo 'no PyTorch'; return; }
	"$python" bench/engine/peer.py about 2>/dev/null
}

commit() {
	if [ -f PACKED ]; then
		sed -n 's/^packed from commit //p' PACKED
	else
		git describe --always --dirty 2>/dev/null || echo unknown
	fi
}

# find_library NAME: its folder, where the loader does not know it: CUDA's, or that of the CUDA that
# PyTorch brings.
find_library() {
	local found python
	! ldconfig -p 2>/dev/null | grep -q "^[[:space:]]*$1 " || return 0
	found=$(ls /usr/local/cuda*/lib64/"$1" 2>/dev/null | tail -n 1)
	if [ -z "$found" ] && python=$(python_with_torch); then
		found=$("$python" -c 'import sysconfig; print(sysconfig.get_paths()["purelib"])')
		found=$(find "$found/nvidia" -name "$1" 2>/dev/null | tail -n 1)
	fi
	[ -z "$found" ] || dirname "$found"
}
# The libraries of CUDA that the plug-in calls or opens, for all stages: found once.
if [ -z "${CUDA_FOLDERS+set}" ]; then
	CUDA_FOLDERS=
	for library in libcublas.so.13 libcublasLt.so.13 libcudnn.so.9; do
		folder=$(find_library $library)
		case :$CUDA_FOLDERS: in *":$folder:"*) continue ;; esac
		CUDA_FOLDERS=${CUDA_FOLDERS:+$CUDA_FOLDERS:}$folder
	done
	export CUDA_FOLDERS
	[ -z "$CUDA_FOLDERS" ] || export LD_LIBRARY_PATH=${LD_LIBRARY_PATH:+$LD_LIBRARY_PATH:}$CUDA_FOLDERS
fi

# The folder of the plug-in and of the programs that open it.
if [ -z "${REHEARSE:-}" ]; then plugin=build/lib programs=build/bin; else plugin=build/host-engine programs=build/host-engine; fi

# A private server outlives a stage that was killed: it is a session of its own.
stop_servers() {
	local file
	for file in build/gpu-check/cluster/data/postmaster.pid build/bench/encode-cluster/data/postmaster.pid; do
		[ ! -s $file ] || kill -QUIT "$(head -n 1 $file)" 2>/dev/null
	done
}

# skip WHY: ends a stage that cannot run here.
skip() {
	echo "summary: $1"
	exit 77
}

# A folder of JPEGs of some size: photographs where DEEPHASH_DATA or the pack has some.
if [ -d data ]; then data=${DEEPHASH_DATA:-$top/data}; else data=${DEEPHASH_DATA:-$top/../shared/data}; fi
photographs() {
	local to=$top/build/gpu-check/photos
	rm -rf "$to"
	mkdir -p "$to"
	if [ -r "$data/imagenet_photos.tar" ]; then
		tar -C "$to" -xf "$data/imagenet_photos.tar"
	else
		build/bin/deephash-train synth --into-existing --size 384 --per-class 25 "$to" >/dev/null || return 1
	fi
	chmod -R a+rX "$to"
	echo "$to"
}
