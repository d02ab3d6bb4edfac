// The C face of the shim: what the hot path and the settings need of RocksDB and grocksdb does not offer.
//
// Rules: no call throws or keeps a pointer to memory of the caller beyond its return; none calls back into Go; failures
// fill in a pg_status, which the caller has zeroed.
#ifndef PEGASUS_ENGINE_ROCKS_SHIM_H
#define PEGASUS_ENGINE_ROCKS_SHIM_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct pg_shared pg_shared; // write buffer manager, rate limiter
typedef struct pg_state pg_state;   // settings and observations that the store's background work shares with its owner
typedef struct pg_store pg_store;
typedef struct pg_iter pg_iter;

// A RocksDB status: code and subcode of rocksdb::Status, message cut to fit.
typedef struct {
	int32_t code;
	int32_t subcode;
	char msg[248];
} pg_status;

// The layout of engine.GetResult.
typedef struct {
	uint32_t off;
	uint32_t len;
	uint8_t outcome;
	uint8_t pad[3];
} pg_result;

// Outcomes as in package engine; PG_TOO_SMALL is never seen outside this package.
enum { PG_NOT_FOUND = 0, PG_FOUND = 1, PG_WOULD_BLOCK = 2, PG_FAILED = 3, PG_TOO_SMALL = 255 };

// How reads go, bits: backwards, from memory only, without filling the cache, without prefix filters.
enum { PG_REVERSE = 1, PG_CACHE_ONLY = 2, PG_NO_FILL = 4, PG_NO_PREFIX = 8 };

// 1 when the shim itself was compiled with assertions.
int pg_shim_assertions(void);
// Number of shim objects that were created and not freed, for leak tests.
int64_t pg_live_objects(void);

// io_bytes_per_second 0 means no limit.
pg_shared *pg_shared_new(uint64_t write_buffer_bytes, int64_t io_bytes_per_second, pg_status *st);
uint64_t pg_shared_memtable_bytes(const pg_shared *s);
void pg_shared_free(pg_shared *s);

pg_state *pg_state_new(uint32_t data_version, pg_status *st);
void pg_state_free(pg_state *s);
void pg_state_set_table(pg_state *s, uint32_t default_ttl, int32_t partition_version, int32_t partition_index);
// Rules in the encoding of engine.Rules; a length of 0 means none. What does not parse counts as none.
void pg_state_set_rules(pg_state *s, const char *rules, size_t len);
void pg_state_set_data_version(pg_state *s, uint32_t data_version);
// 0 = writes run freely, 1 = they are delayed or stopped.
uint32_t pg_state_stalled(const pg_state *s);
int64_t pg_state_flushed(const pg_state *s);

// Completes options made by grocksdb: opts is a rocksdb_options_t *.
enum { PG_DATA_CF = 1, PG_PREFIX = 2, PG_QUIET = 4 };
void pg_options_attach(void *opts, const pg_shared *shared, const pg_state *state, int flags);

// db, data and meta are a rocksdb_t * and two rocksdb_column_family_handle_t *. The caller keeps owning them and frees
// the pg_store first.
pg_store *pg_store_new(void *db, void *data, void *meta, pg_state *state, pg_status *st);
void pg_store_free(pg_store *s);

// Looks up n keys: keys back to back, ends[i] the end of key i. Values are appended to vals behind used; a value that
// does not fit is PG_TOO_SMALL with its length in len. Of the flags PG_CACHE_ONLY and PG_NO_FILL count. With retry only keys in that state are looked up.
// Returns the bytes of vals then in use.
uint64_t pg_multiget(pg_store *s, const char *keys, const uint32_t *ends, int n, int flags, int retry, char *vals,
                     uint64_t used, uint64_t cap, pg_result *results, pg_status *st);

// Looks up key i in stores[i], in memory only; the rest as pg_multiget does it. nullptr leaves a result as it is. The stores are walked
// through first, so that what they need of memory comes side by side and not one line after the other. A lookup that fails ends the
// call, so that the status is of that store; the keys behind it are PG_TOO_SMALL, for a call with retry.
uint64_t pg_gather(void *const *stores, const char *keys, const uint32_t *ends, int n, int retry, char *vals, uint64_t used,
                   uint64_t cap, pg_result *results, pg_status *st);

// Writes a write batch given in RocksDB's representation, without WAL.
void pg_apply(pg_store *s, const char *rep, size_t len, pg_status *st);

void pg_flush(pg_store *s, pg_status *st);
// level -1 leaves records on their levels; force rewrites the lowest level too.
void pg_compact(pg_store *s, int level, int force, pg_status *st);
// Makes a pg_compact that runs end soon, and every later one at once.
void pg_abort_compact(pg_store *s);
// Reads the flushed decree from storage and remembers it for pg_state_flushed.
int64_t pg_persisted_decree(pg_store *s, pg_status *st);
// Reads a meta record into buf; returns its length, which may be larger than cap, or -1 when there is none.
int64_t pg_meta_get(pg_store *s, const char *key, size_t key_len, char *buf, size_t cap, pg_status *st);
void pg_meta_put(pg_store *s, const char *key, size_t key_len, const char *value, size_t value_len, pg_status *st);
// Changes options of the data column family at run time: "name=value;name=value".
void pg_set_options(pg_store *s, const char *options, size_t len, pg_status *st);

// Iterators. A length of 0 means no bound.
pg_iter *pg_iter_new(pg_store *s, const char *lower, size_t lower_len, const char *upper, size_t upper_len, int flags,
                     pg_status *st);
void pg_iter_free(pg_iter *it);

// PG_END: the range is exhausted. PG_MORE: a limit was reached before the end. PG_FULL: the next row needs `need` bytes and buf has
// fewer left. PG_BLOCKED: the next row is not in memory.
enum { PG_END = 0, PG_MORE = 1, PG_FULL = 2, PG_BLOCKED = 3, PG_ERROR = 4 };
typedef struct {
	uint64_t used; // bytes of buf in use, updated
	uint64_t rows; // rows in buf, updated
	uint64_t need; // set with PG_FULL
} pg_slice;
// Appends rows (u32 key length, u32 value length, key, value) to buf. A limit of 0 is none; max_bytes counts keys and
// values, max_us is looked at every 16 rows. value_cut > 0 cuts values to that length.
int pg_iter_next(pg_iter *it, char *buf, uint64_t cap, uint64_t max_rows, uint64_t max_bytes, int64_t max_us,
                 uint32_t value_cut, pg_slice *slice, pg_status *st);

// For the offline tools: one table file, opened without a store. Views in a record die with the next call.
typedef struct pg_sst pg_sst;
typedef struct {
	const char *key;
	size_t key_len;
	const char *value;
	size_t value_len;
} pg_sst_record;
pg_sst *pg_sst_open(const char *path, size_t len, pg_status *st);
void pg_sst_free(pg_sst *f);
void pg_sst_verify(pg_sst *f, pg_status *st);
// Both return the length of the text, cut to cap.
size_t pg_sst_properties(pg_sst *f, char *buf, size_t cap, pg_status *st);
size_t pg_sst_family(pg_sst *f, char *buf, size_t cap, uint64_t *entries, pg_status *st);
void pg_sst_seek(pg_sst *f, const char *key, size_t len, pg_status *st);
// 1 with a record, 0 at the end. REQUIRES: pg_sst_seek.
int pg_sst_next(pg_sst *f, pg_sst_record *r, pg_status *st);

#ifdef __cplusplus
}
#endif
#endif
