// Package clientlib is the Go client of a Pegasus cluster, this one's or Apache Pegasus'. It finds tables through the meta
// servers, sends each request to the server that has its partition, over few connections with many requests in flight, and
// follows the cluster when partitions move. It builds without cgo, depends on the standard library alone (and on package
// proto of this module), and knows nothing of how servers store or replicate.
//
//	client, err := clientlib.Dial(clientlib.Options{Metas: []string{"meta1:34601", "meta2:34601", "meta3:34601"}})
//	table, err := client.OpenTable(ctx, "temp")
//	err = table.Set(ctx, hashKey, sortKey, value)
//	value, err = table.Get(ctx, hashKey, sortKey) // nil when there is none
//
// # Four ways to call
//
// The methods of Table wait. Async starts operations and returns futures. A Batch sends many operations together and waits
// once. Table.Do starts a Call that the caller encodes and keeps, ends in a callback, and allocates nothing. All share the
// same pipeline: one writer and one reader goroutine for each connection, none for a request.
//
// # Errors
//
// Every error is of one of three classes, by errors.Is:
//
//   - ErrRefused: not executed, and would be refused again (bad argument, no such table, access denied);
//   - ErrRetriable: not executed, or only read; try again later (deadline passed before it could be sent, server busy);
//   - ErrUnknownOutcome: a write that was sent, and whose answer was lost.
//
// The cause is wrapped beside the class: ErrTimeout, a *ServerError with its proto.ErrCode, context.Canceled, ... OpError has
// the details. Requests that were certainly not executed are sent again until their deadline, reads always; a write whose
// answer was lost never is, not even a Set: a second attempt could undo what others wrote in between. A server that answers
// ERR_BUSY is left alone for growing pauses and given up after five refusals. Package route has the rules.
//
// # Deadlines
//
// The deadline of the context bounds an operation with all its attempts, and is told to the server; without one it is
// Options.Timeout. It may be noticed 10 ms late.
//
// # For those who come from the official client
//
// Names and argument lists are those of github.com/XiaoMi/pegasus-go-client (package pegasus, of 2021; apache/incubator-pegasus
// go-client is its successor). Where they differ the table says how.
//
//	official client                            here
//	-----------------------------------------  ------------------------------------------------------------------
//	pegasus.NewClient(Config{MetaServers: m})  clientlib.Dial(Options{Metas: m}), which returns an error as well
//	Client.OpenTable(ctx, name)                the same; *Table in place of the interface TableConnector
//	Client.Close                               the same
//	Get(ctx, hk, sk)                           the same: nil, nil when there is no record; an empty value is not nil
//	Set(ctx, hk, sk, v)                        the same
//	SetTTL(ctx, hk, sk, v, ttl)                the same; a fraction of a second counts as a whole one
//	Del(ctx, hk, sk)                           the same
//	TTL(ctx, hk, sk)                           the same: seconds, NoTTL (-1), NotFound (-2)
//	Exist(ctx, hk, sk)                         the same
//	MultiGet, MultiGetOpt                      the same; nil options are the defaults
//	MultiGetRange, MultiGetRangeOpt            the same
//	MultiSet, MultiSetOpt                      the same
//	MultiDel                                   the same
//	SortKeyCount                               the same
//	Incr(ctx, hk, sk, n)                       the same; IncrTTL sets or clears the expiry as well
//	CheckAndSet                                the same; SetValueTTLSeconds is a time to live, not an expiry; nil options are the
//	                                           defaults; CheckTypeIntGreater compares numbers (there it compares bytes)
//	BatchGet(ctx, keys)                        the same
//	GetScanner                                 the same
//	GetUnorderedScanners                       the same; safe when a server dies in between
//	Scanner.Next, Scanner.Close                the same; Next goes on after an error
//	TableConnector.Close                       the same, and does nothing
//	hash key nil or empty: refused             Get, Set, Del, TTL, Incr take an empty one; the others refuse it
//	*PError                                    *OpError, with classes
//	-                                          CheckAndMutate, MultiGetSortKeys (as in the Java and C++ clients)
//	-                                          DelRange, DelRangeOpt (with the argument order of the successor)
//	-                                          GetOrderedScanner; Scanner.Token, Table.ResumeScanner; Scanner.All, NextRecord
//	-                                          Async and futures, Batch, BulkWriter, Table.Do
//	-                                          CreateTable, DropTable, ListTables, ListNodes, UpdateAppEnvs, WaitHealthy
package clientlib
