// Package invariant states what must be true. It is a leaf: everything may import it and it imports only the
// standard library.
//
// Assertf is always on, also in production: a replica that runs on after an impossible state would spread it.
// It is for bugs only. What input, disks and peers can do wrong is an error value, never an assertion.
package invariant

import "fmt"

// Assertf panics with "BUG: " and the formatted message when ok is false. Arguments are evaluated even when ok is
// true, so keep them cheap on hot paths.
func Assertf(ok bool, format string, args ...any) {
	if !ok {
		panic("BUG: " + fmt.Sprintf(format, args...))
	}
}
