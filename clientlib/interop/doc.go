// Package interop drives a real cluster with the official Go client of Apache Pegasus (as published before the project
// moved to Apache), and in the module below with go-ycsb. It is a module of its own so that nobody who builds Pegasus
// needs the code of others' clients; it imports nothing of this repository and sees the cluster as any application does.
//
// The tests run inside `pegasus-onebox run`, which starts three metas and three replica servers on free ports; with
// PEGASUS_METAS and PEGASUS_REPLICAS set (addresses joined by commas) they take the cluster that is there.
package interop
