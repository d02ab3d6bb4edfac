// Package transfer copies the directory of a checkpoint from one node to another: a Server offers directories, Fetch brings
// one into a staging directory, verified, resumable and no faster than allowed. It knows files and checksums. It refuses to
// know what a store is, who may learn, and when: whoever offers and whoever fetches have agreed on a transfer id before.
//
// The bytes travel over connections of their own, to a listener of their own, served by goroutines: what a learner copies
// must not queue in front of a client's request, and nothing here ever runs on a loop.
//
// The learner asks, block by block, and the server keeps no position. That makes everything else simple: a broken
// connection, a restarted learner and a damaged block are all the same case, blocks that are still missing. A stream of
// whole files would need the server to know where the learner stands, and would make damage cost a file.
//
// Both ends hold every block against the manifest, which is made when a directory is offered. The server reads a block,
// compares, and only then sends it, so it never passes on what its own disk has damaged since; sendfile would be cheaper and
// blind. Since a block's checksum stands in the frame's header and in the manifest, one pass over the bytes per end checks
// both disk and wire.
package transfer
