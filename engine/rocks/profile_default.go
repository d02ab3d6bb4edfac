//go:build !release

package rocks

// #cgo CXXFLAGS: -O2
// #cgo LDFLAGS: -lrocksdb -lstdc++
import "C"

// The default profile links the distribution's shared library, which has its assertions on: misuse ends a test at once.
const profile = "default: shared librocksdb 7.8.3"
