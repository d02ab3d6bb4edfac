// Package ycsb runs the six core workloads of YCSB against a real cluster, with go-ycsb and its Pegasus driver. It is a
// module of its own beside the one above because the driver needs an older version of the same client.
package ycsb
