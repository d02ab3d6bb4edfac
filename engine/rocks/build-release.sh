#!/bin/sh
# Builds the static RocksDB that release binaries link: the version of the default profile (what grocksdb v1.7.14 targets),
# but without assertions, with -O3 and with hardware crc32c. Leaves DIR/include and DIR/lib/librocksdb.a and prints the
# cgo flags that use them, for the shell:
#
#   eval "$(build-release.sh DIR)" && go build -tags release,grocksdb_clean_link ./...
#
#   build-release.sh DIR [SOURCE]
#
# SOURCE is an unpacked RocksDB 7.8.3 tree; without it the distribution's source package is fetched, through a private
# sources list, so that the system's own lists stay as they are.
# Environment: ROCKSDB_ARCH=haswell (default: runs on any x86-64 with AVX2) or native (this machine only);
#              ROCKSDB_JOBS=2 (compilers at once).
# Does nothing when DIR holds the result of the same version, settings and script already.
set -eu

VERSION=7.8.3
PACKAGE=7.8.3-2
[ $# -ge 1 ] || { echo "usage: $0 DIR [SOURCE]" >&2; exit 2; }
mkdir -p "$1"
dir=$(cd "$1" && pwd)
source=${2:-}
arch=${ROCKSDB_ARCH:-haswell}
jobs=${ROCKSDB_JOBS:-2}
case "$arch" in
haswell) portable=1 flags="-march=haswell" ;;
native) portable=0 flags="" ;;
*) echo "$0: ROCKSDB_ARCH must be haswell or native, not $arch" >&2; exit 2 ;;
esac

# -O2 and -g are what cgo uses when nothing is given; giving something replaces them.
print_flags() {
	echo "export CGO_CFLAGS='-O2 -g -I$dir/include'"
	echo "export CGO_CXXFLAGS='-O2 -g -I$dir/include'"
	echo "export CGO_LDFLAGS='-L$dir/lib'"
}

stamp="$VERSION $arch $(cksum <"$0")"
if [ -f "$dir/stamp" ] && [ "$(cat "$dir/stamp")" = "$stamp" ]; then
	print_flags
	exit 0
fi
rm -f "$dir/stamp"

if [ -z "$source" ]; then
	apt=$dir/apt
	mkdir -p "$apt/lists/partial" "$apt/cache/archives/partial" "$dir/download"
	echo "deb-src [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] http://deb.debian.org/debian bookworm main" >"$apt/sources.list"
	private="-o Dir::Etc::sourcelist=$apt/sources.list -o Dir::Etc::sourceparts=/dev/null -o Dir::State::lists=$apt/lists -o Dir::Cache=$apt/cache -o APT::Sandbox::User="
	# shellcheck disable=SC2086 # the options are words
	(cd "$dir/download" && apt-get $private -q update && apt-get $private -q --download-only source "rocksdb=$PACKAGE") >&2
	rm -rf "$dir/src"
	dpkg-source --no-copy -x "$dir/download/rocksdb_$PACKAGE.dsc" "$dir/src" >&2
	source=$dir/src
fi
grep -q "define ROCKSDB_MAJOR 7" "$source/include/rocksdb/version.h" &&
	grep -q "define ROCKSDB_MINOR 8" "$source/include/rocksdb/version.h" ||
	{ echo "$0: $source is not RocksDB $VERSION" >&2; exit 1; }

# RTTI stays on because the shim derives from RocksDB's classes and is itself compiled with it. What is disabled would be
# found on some machines and not on others: a release must not depend on what happens to be installed.
(
	cd "$source"
	export ROCKSDB_USE_IO_URING=0 ROCKSDB_DISABLE_GFLAGS=1 ROCKSDB_DISABLE_NUMA=1 ROCKSDB_DISABLE_TBB=1 \
		ROCKSDB_DISABLE_JEMALLOC=1 ROCKSDB_DISABLE_TCMALLOC=1 ROCKSDB_DISABLE_MEMKIND=1
	nice -n 19 make -j"$jobs" static_lib DEBUG_LEVEL=0 OPTIMIZE_LEVEL=-O3 PORTABLE=$portable USE_SSE=1 USE_RTTI=1 \
		EXTRA_CXXFLAGS="$flags" EXTRA_CFLAGS="$flags" DISABLE_WARNING_AS_ERROR=1
) >"$dir/build.log" 2>&1 || { tail -n 30 "$dir/build.log" >&2; exit 1; }

# Assertions compiled in would reference __assert_fail.
if nm "$source/librocksdb.a" 2>/dev/null | grep -q __assert_fail; then
	echo "$0: the library still contains assertions" >&2
	exit 1
fi
mkdir -p "$dir/lib"
rm -rf "$dir/include"
cp -r "$source/include" "$dir/include"
strip --strip-debug -o "$dir/lib/librocksdb.a" "$source/librocksdb.a"
echo "$stamp" >"$dir/stamp"
print_flags
