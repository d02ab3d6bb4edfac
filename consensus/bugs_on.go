//go:build pacbugs

package consensus

// planted is a variable of the package because a bug is one of the code, not of a replica. Tests that plant one do not run
// beside others.
var planted Bug

// Plant builds one bug into all replicas and leases of the process, NoBug none.
func Plant(b Bug) { planted = b }

func bug(b Bug) bool { return b == planted }
