// Options that grocksdb lacks, lookups, apply, flush and compaction.

#include <rocksdb/convenience.h>
#include <rocksdb/env.h>
#include <rocksdb/listener.h>
#include <rocksdb/options.h>
#include <rocksdb/rate_limiter.h>
#include <rocksdb/write_buffer_manager.h>

#include <algorithm>
#include <cstring>
#include <unordered_map>

#include "shim_internal.hh"

using rocksdb::ColumnFamilyHandle;
using rocksdb::DB;
using rocksdb::PinnableSlice;
using rocksdb::Slice;
using rocksdb::Status;

// The handles of RocksDB's C API, through which grocksdb works; db/c.cc defines them so.
struct rocksdb_t {
    DB *rep;
};
struct rocksdb_options_t {
    rocksdb::Options rep;
};
struct rocksdb_column_family_handle_t {
    ColumnFamilyHandle *rep;
};

struct pg_shared : pegasus::Counted {
    std::shared_ptr<rocksdb::WriteBufferManager> wbm;
    std::shared_ptr<rocksdb::RateLimiter> limiter; // grocksdb can give one to a single store only
};

namespace pegasus {

std::atomic<int64_t> live_objects{0};

const char decree_key[] = "pegasus_last_flushed_decree";
// Names of column families, as the stall listener sees them.
const char data_cf[] = "default";

void set_status(pg_status *out, const Status &s)
{
    if (s.ok()) {
        return;
    }
    out->code = s.code();
    out->subcode = s.subcode();
    std::string msg = s.ToString();
    size_t n = std::min(msg.size(), sizeof out->msg - 1);
    std::memcpy(out->msg, msg.data(), n);
    out->msg[n] = 0;
}

void set_exception(pg_status *out, const char *what) { set_status(out, Status::Aborted("exception", what)); }

namespace {

// Reads the decree that is on storage; 0 and an error when there is none.
int64_t persisted_decree(DB *db, ColumnFamilyHandle *meta, Status *s)
{
    rocksdb::ReadOptions ro;
    ro.read_tier = rocksdb::kPersistedTier;
    std::string value;
    *s = db->Get(ro, meta, decree_key, &value);
    if (!s->ok()) {
        return 0;
    }
    int64_t decree = 0;
    for (char c : value) {
        if (c < '0' || c > '9' || decree > (INT64_MAX - 9) / 10) {
            *s = Status::Corruption("flushed decree is not a number", value);
            return 0;
        }
        decree = decree * 10 + (c - '0');
    }
    return decree;
}

void raise(std::atomic<int64_t> &to, int64_t v)
{
    int64_t old = to.load();
    while (old < v && !to.compare_exchange_weak(old, v)) {
    }
}

class Listener : public rocksdb::EventListener
{
public:
    explicit Listener(std::shared_ptr<State> state) : _state(std::move(state)) {}

    void OnStallConditionsChanged(const rocksdb::WriteStallInfo &info) override
    {
        uint32_t bit = info.cf_name == data_cf ? 1 : 2;
        if (info.condition.cur == rocksdb::WriteStallCondition::kNormal) {
            _state->stalled.fetch_and(~bit);
        } else {
            _state->stalled.fetch_or(bit);
        }
    }

    // Runs on a flush thread without RocksDB's mutex, once the flush is in force: reading is allowed.
    void OnFlushCompleted(DB *, const rocksdb::FlushJobInfo &) override
    {
        std::lock_guard<std::mutex> lock(_state->mu);
        if (_state->db == nullptr) {
            return;
        }
        Status s;
        int64_t decree = persisted_decree(_state->db, _state->meta, &s);
        if (s.ok()) {
            raise(_state->flushed, decree);
        }
    }

private:
    std::shared_ptr<State> _state;
};

class NullLogger : public rocksdb::Logger
{
public:
    using rocksdb::Logger::Logv;
    void Logv(const char *, va_list) override {}
};

// Moves one looked-up value into the arena and sets the result. Returns the bytes of the arena then in use.
uint64_t deliver(const Status &s, const PinnableSlice &value, char *vals, uint64_t used, uint64_t cap, pg_result *r,
                 pg_status *st)
{
    *r = pg_result{};
    if (s.ok()) {
        r->len = uint32_t(value.size());
        if (value.size() > cap - used) {
            r->outcome = PG_TOO_SMALL;
            return used;
        }
        std::memcpy(vals + used, value.data(), value.size());
        r->off = uint32_t(used);
        r->outcome = PG_FOUND;
        return used + value.size();
    }
    if (s.IsNotFound()) {
        r->outcome = PG_NOT_FOUND;
    } else if (s.IsIncomplete()) {
        r->outcome = PG_WOULD_BLOCK;
    } else {
        r->outcome = PG_FAILED;
        if (st->code == 0) {
            set_status(st, s);
        }
    }
    return used;
}

// Fetches the first lines of memory that a lookup in each of the stores needs.
void warm(pg_store *const *stores, int n)
{
    for (int i = 0; i < n; i++) {
        __builtin_prefetch(stores[i]);
    }
    for (int i = 0; i < n; i++) {
        if (stores[i] != nullptr) {
            __builtin_prefetch(static_cast<const void *>(stores[i]->db));
            __builtin_prefetch(static_cast<const void *>(stores[i]->data));
        }
    }
}

// Looks up key i in store_of(i), nullptr for none, in memory. What the lookups of a group need of memory is fetched before the first.
// With done, which tells how many have been looked up, one that fails is the last.
template <typename F>
uint64_t cached_gets(F store_of, const char *keys, const uint32_t *ends, int n, bool fill_cache, char *vals, uint64_t used,
                     uint64_t cap, pg_result *results, pg_status *st, int *done)
{
    rocksdb::ReadOptions ro;
    ro.read_tier = rocksdb::kBlockCacheTier;
    ro.fill_cache = fill_cache;
    PinnableSlice value;
    auto go_on = [&] { return done == nullptr || st->code == 0; };
    for (int first = 0; first < n && go_on(); first += walk_group) {
        pg_store *stores[walk_group];
        Slice slices[walk_group];
        Trail trails[walk_group];
        int m = std::min(n - first, walk_group);
        for (int i = 0; i < m; i++) {
            uint32_t start = first + i > 0 ? ends[first + i - 1] : 0;
            slices[i] = Slice(keys + start, ends[first + i] - start);
            stores[i] = store_of(first + i);
        }
        if (m > 1) {
            warm(stores, m);
            fetch_for_gets(stores, slices, m, trails);
        }
        for (int i = 0; i < m && go_on(); i++) {
            if (stores[i] != nullptr) {
                Ahead ahead(m > 1 ? &trails[i] : nullptr);
                Status status = stores[i]->db->Get(ro, stores[i]->data, slices[i], &value);
                used = deliver(status, value, vals, used, cap, &results[first + i], st);
                value.Reset();
            }
            if (done != nullptr) {
                *done = first + i + 1;
            }
        }
    }
    return used;
}

} // namespace
} // namespace pegasus

using pegasus::guarded;
using pegasus::set_status;

extern "C" {

int pg_shim_assertions(void)
{
#ifdef NDEBUG
    return 0;
#else
    return 1;
#endif
}

int64_t pg_live_objects(void) { return pegasus::live_objects.load(); }

pg_shared *pg_shared_new(uint64_t write_buffer_bytes, int64_t io_bytes_per_second, pg_status *st)
{
    return guarded(st, [&]() -> pg_shared * {
        auto s = std::make_unique<pg_shared>();
        // No stall by the manager: it would block an apply in a way that nobody is told of. Past its limit each store that
        // is written to is flushed; one that is idle keeps its memtable.
        s->wbm = std::make_shared<rocksdb::WriteBufferManager>(write_buffer_bytes);
        if (io_bytes_per_second > 0) {
            s->limiter.reset(rocksdb::NewGenericRateLimiter(io_bytes_per_second));
        }
        return s.release();
    });
}

uint64_t pg_shared_memtable_bytes(const pg_shared *s) { return s->wbm->memory_usage(); }

void pg_shared_free(pg_shared *s) { delete s; }

pg_state *pg_state_new(uint32_t data_version, pg_status *st)
{
    return guarded(st, [&]() -> pg_state * {
        auto s = std::make_unique<pg_state>();
        s->s = std::make_shared<pegasus::State>();
        s->s->data_version = data_version;
        return s.release();
    });
}

void pg_state_free(pg_state *s) { delete s; }

void pg_state_set_table(pg_state *s, uint32_t default_ttl, int32_t partition_version, int32_t partition_index)
{
    s->s->default_ttl = default_ttl;
    s->s->partition = uint64_t(uint32_t(partition_version)) << 32 | uint32_t(partition_index);
}

void pg_state_set_rules(pg_state *s, const char *rules, size_t len)
{
    pg_status unused{};
    guarded(&unused, [&] {
        auto parsed = pegasus::parse_rules(rules, len);
        std::lock_guard<std::mutex> lock(s->s->rules_mu);
        s->s->rules = std::move(parsed);
        return 0;
    });
}

void pg_state_set_data_version(pg_state *s, uint32_t data_version) { s->s->data_version = data_version; }

uint32_t pg_state_stalled(const pg_state *s) { return s->s->stalled.load() != 0; }

int64_t pg_state_flushed(const pg_state *s) { return s->s->flushed.load(); }

void pg_options_attach(void *opts, const pg_shared *shared, const pg_state *state, int flags)
{
    rocksdb::Options &o = static_cast<rocksdb_options_t *>(opts)->rep;
    if (shared != nullptr) {
        o.write_buffer_manager = shared->wbm;
        o.rate_limiter = shared->limiter;
    }
    // Close must not flush: what is not flushed comes back from the shard log, and a close must be quick.
    o.avoid_flush_during_shutdown = true;
    if (state != nullptr) {
        o.listeners.push_back(std::make_shared<pegasus::Listener>(state->s));
        if (flags & PG_DATA_CF) {
            o.compaction_filter_factory = pegasus::new_filter_factory(state->s);
            o.memtable_factory = pegasus::new_memtable_factory(state->s->memtable);
        }
    }
    if (flags & PG_PREFIX) {
        o.prefix_extractor = pegasus::new_hash_key_transform();
    }
    if (flags & PG_QUIET) {
        o.info_log = std::make_shared<pegasus::NullLogger>();
    }
}

pg_store *pg_store_new(void *db, void *data, void *meta, pg_state *state, pg_status *st)
{
    return guarded(st, [&]() -> pg_store * {
        auto s = std::make_unique<pg_store>();
        s->db = static_cast<rocksdb_t *>(db)->rep;
        s->data = static_cast<rocksdb_column_family_handle_t *>(data)->rep;
        s->meta = static_cast<rocksdb_column_family_handle_t *>(meta)->rep;
        s->state = state->s;
        s->memtable = state->s->memtable;
        s->prefix = s->db->GetOptions(s->data).prefix_extractor != nullptr;
        std::lock_guard<std::mutex> lock(s->state->mu);
        s->state->db = s->db;
        s->state->meta = s->meta;
        return s.release();
    });
}

void pg_store_free(pg_store *s)
{
    {
        std::lock_guard<std::mutex> lock(s->state->mu);
        s->state->db = nullptr;
        s->state->meta = nullptr;
    }
    delete s;
}

// The cache tier is a loop of Gets: the batched MultiGet of RocksDB 7.8 ignores the tier once index and filter have been
// passed, reads missing data blocks from storage and thus blocks, and of some keys then says OK without a value. Where blocking is
// allowed it is the better call, for it reads neighbouring blocks at once and cached ones for less.
uint64_t pg_multiget(pg_store *s, const char *keys, const uint32_t *ends, int n, int flags, int retry, char *vals,
                     uint64_t used, uint64_t cap, pg_result *results, pg_status *st)
{
    // RocksDB cuts batches to 32 keys itself.
    constexpr int chunk = 32;
    auto key = [&](int i) {
        uint32_t start = i > 0 ? ends[i - 1] : 0;
        return Slice(keys + start, ends[i] - start);
    };
    auto wanted = [&](int i) { return !retry || results[i].outcome == PG_TOO_SMALL; };
    try {
        if (flags & PG_CACHE_ONLY) {
            return pegasus::cached_gets([&](int i) { return wanted(i) ? s : nullptr; }, keys, ends, n, !(flags & PG_NO_FILL), vals,
                                        used, cap, results, st, nullptr);
        }
        rocksdb::ReadOptions ro;
        ro.fill_cache = !(flags & PG_NO_FILL);
        if (n == 1) {
            PinnableSlice value;
            return pegasus::deliver(s->db->Get(ro, s->data, key(0), &value), value, vals, used, cap, &results[0], st);
        }
        Slice slices[chunk];
        int index[chunk];
        PinnableSlice values[chunk];
        Status statuses[chunk];
        for (int i = 0; i < n;) {
            int m = 0;
            for (; i < n && m < chunk; i++) {
                if (wanted(i)) {
                    slices[m] = key(i);
                    index[m++] = i;
                }
            }
            s->db->MultiGet(ro, s->data, m, slices, values, statuses);
            for (int j = 0; j < m; j++) {
                used = pegasus::deliver(statuses[j], values[j], vals, used, cap, &results[index[j]], st);
                values[j].Reset();
            }
        }
    } catch (const std::exception &e) {
        pegasus::set_exception(st, e.what());
        for (int i = 0; i < n; i++) {
            if (results[i].outcome != PG_FOUND) {
                results[i] = pg_result{0, 0, PG_FAILED, {}};
            }
        }
    }
    return used;
}

uint64_t pg_gather(void *const *stores, const char *keys, const uint32_t *ends, int n, int retry, char *vals, uint64_t used,
                   uint64_t cap, pg_result *results, pg_status *st)
{
    auto store_of = [&](int i) {
        return !retry || results[i].outcome == PG_TOO_SMALL ? static_cast<pg_store *>(stores[i]) : nullptr;
    };
    int done = 0;
    try {
        used = pegasus::cached_gets(store_of, keys, ends, n, true, vals, used, cap, results, st, &done);
        for (; !retry && done < n; done++) {
            if (stores[done] != nullptr) {
                results[done] = pg_result{0, 0, PG_TOO_SMALL, {}};
            }
        }
    } catch (const std::exception &e) {
        pegasus::set_exception(st, e.what());
        for (int i = done; i < n; i++) {
            if (stores[i] != nullptr && results[i].outcome != PG_FOUND) {
                results[i] = pg_result{0, 0, PG_FAILED, {}};
            }
        }
    }
    return used;
}

void pg_apply(pg_store *s, const char *rep, size_t len, pg_status *st)
{
    guarded(st, [&] {
        pegasus::Plan plan(*s->memtable, rep, len);
        s->batch.assign(rep, len);
        rocksdb::WriteOptions wo;
        wo.disableWAL = true;
        set_status(st, s->db->Write(wo, &s->batch));
        return 0;
    });
}

void pg_flush(pg_store *s, pg_status *st)
{
    guarded(st, [&] {
        rocksdb::FlushOptions fo;
        set_status(st, s->db->Flush(fo, {s->data, s->meta}));
        return 0;
    });
}

void pg_compact(pg_store *s, int level, int force, pg_status *st)
{
    guarded(st, [&] {
        rocksdb::CompactRangeOptions co;
        // Other work of this store goes on beside it.
        co.exclusive_manual_compaction = false;
        // The lowest level too: that is where records expire.
        co.bottommost_level_compaction = force ? rocksdb::BottommostLevelCompaction::kForceOptimized
                                               : rocksdb::BottommostLevelCompaction::kSkip;
        co.canceled = &s->abort_compact;
        co.change_level = level >= 0;
        co.target_level = level;
        set_status(st, s->db->CompactRange(co, s->data, nullptr, nullptr));
        return 0;
    });
}

void pg_abort_compact(pg_store *s) { s->abort_compact = true; }

int64_t pg_persisted_decree(pg_store *s, pg_status *st)
{
    return guarded(st, [&]() -> int64_t {
        Status status;
        int64_t decree = pegasus::persisted_decree(s->db, s->meta, &status);
        set_status(st, status);
        if (status.ok()) {
            pegasus::raise(s->state->flushed, decree);
        }
        return decree;
    });
}

int64_t pg_meta_get(pg_store *s, const char *key, size_t key_len, char *buf, size_t cap, pg_status *st)
{
    return guarded(st, [&]() -> int64_t {
        std::string value;
        Status status = s->db->Get(rocksdb::ReadOptions(), s->meta, Slice(key, key_len), &value);
        if (status.IsNotFound()) {
            return -1;
        }
        set_status(st, status);
        std::memcpy(buf, value.data(), std::min(cap, value.size()));
        return int64_t(value.size());
    });
}

void pg_meta_put(pg_store *s, const char *key, size_t key_len, const char *value, size_t value_len, pg_status *st)
{
    guarded(st, [&] {
        rocksdb::WriteOptions wo;
        wo.disableWAL = true;
        set_status(st, s->db->Put(wo, s->meta, Slice(key, key_len), Slice(value, value_len)));
        return 0;
    });
}

void pg_set_options(pg_store *s, const char *options, size_t len, pg_status *st)
{
    guarded(st, [&] {
        std::unordered_map<std::string, std::string> map;
        Status status = rocksdb::StringToMap(std::string(options, len), &map);
        set_status(st, status.ok() ? s->db->SetOptions(s->data, map) : status);
        return 0;
    });
}

} // extern "C"
