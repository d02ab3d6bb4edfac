//go:build release

package rocks

// #cgo CXXFLAGS: -O3 -DNDEBUG
// #cgo LDFLAGS: -lrocksdb -l:libsnappy.a -l:liblz4.a -l:libzstd.a -l:libz.a -l:libbz2.a -lstdc++ -lpthread -ldl -lm
import "C"

import "pegasus/netcore/invariant"

// The release profile links a static library without assertions; see build-release.sh for the flags that find it.
// It is built with the tags release and grocksdb_clean_link; the latter keeps grocksdb from adding shared libraries.
const profile = "release: static librocksdb 7.8.3"

// A release that picked up the wrong library would be half as fast and would abort where it should report.
func init() {
	invariant.Assertf(!shimAssertions(), "release build: the shim was compiled with assertions")
	invariant.Assertf(!libraryAssertions(), "release build: the linked librocksdb has assertions on")
}
