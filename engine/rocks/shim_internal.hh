// What the files of the shim share. See shim.h for the contract.
#pragma once

#include <rocksdb/compaction_filter.h>
#include <rocksdb/db.h>
#include <rocksdb/memtablerep.h>
#include <rocksdb/slice_transform.h>
#include <rocksdb/write_batch.h>

#include <atomic>
#include <exception>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "shim.h"

namespace pegasus {

extern std::atomic<int64_t> live_objects;

// Counts the objects that Go owns.
struct Counted {
    Counted() { live_objects.fetch_add(1, std::memory_order_relaxed); }
    ~Counted() { live_objects.fetch_sub(1, std::memory_order_relaxed); }
    Counted(const Counted &) = delete;
    Counted &operator=(const Counted &) = delete;
};

void set_status(pg_status *out, const rocksdb::Status &s);
void set_exception(pg_status *out, const char *what);

// Runs f so that no exception (in practice std::bad_alloc) crosses into Go, which would end the process.
template <typename F>
auto guarded(pg_status *st, F f) -> decltype(f())
{
    try {
        return f();
    } catch (const std::exception &e) {
        set_exception(st, e.what());
    } catch (...) {
        set_exception(st, "unknown exception");
    }
    return decltype(f())();
}

// engine.Rules, read from its encoding.
struct Rule {
    uint8_t kind = 0;
    uint8_t match = 0;
    uint32_t start = 0;
    uint32_t stop = 0;
    std::string pattern;
};
struct Operation {
    uint8_t op = 0;
    uint32_t value = 0;
    std::vector<Rule> rules;
};
using Rules = std::vector<Operation>;

// Where the memtable that is being written may be found, for walks ahead of the searches that need it.
class SkipList;
struct ActiveList {
    std::atomic<SkipList *> list{nullptr};
    std::atomic<int> users{0}; // a list does not go while there are any
};

// Keeps a list from going away. Only for a few microseconds: a thread of RocksDB may wait for it.
class Pinned
{
public:
    explicit Pinned(ActiveList &a) : _active(a)
    {
        _active.users.fetch_add(1);
        _list = _active.list.load();
    }
    ~Pinned() { _active.users.fetch_sub(1, std::memory_order_release); }
    Pinned(const Pinned &) = delete;
    Pinned &operator=(const Pinned &) = delete;
    const SkipList *list() const { return _list; }

private:
    ActiveList &_active;
    const SkipList *_list;
};

std::shared_ptr<rocksdb::MemTableRepFactory> new_memtable_factory(std::shared_ptr<ActiveList> active);
// How many searches go in step. A processor has ten to sixteen lines of memory on their way at once.
constexpr int walk_group = 16;

constexpr int max_height = 12;
struct Node;
// Where the walk ahead of a search ended in a list: of every level a node before the key, the head where there is none. What is inserted
// later may come behind them.
struct Trail {
    uint64_t list; // its number, which no other ever has: a trail is of no use for another, also where its memory was; 0: none
    Node *before[max_height];
};

// Walks ahead of the inserts of a batch, which end there as long as it lives, on its thread. The bytes of the batch stay with the caller.
class Plan
{
public:
    Plan(ActiveList &active, const char *rep, size_t len);
    ~Plan();
    Plan(const Plan &) = delete;
    Plan &operator=(const Plan &) = delete;
    // The trail of the record that is inserted next, nullptr for none.
    const Trail *next(const rocksdb::Slice &key, uint64_t list);

private:
    // Of a batch no more keys are walked ahead than have their nodes in the second cache until they are needed.
    static constexpr int max_ahead = 256;
    int _n = 0, _at = 0;
    struct { // nothing that a constructor would touch for each batch
        const char *data;
        size_t len;
        Trail trail;
    } _records[max_ahead];
};

// Walks ahead of the lookup of keys[i] in stores[i], i < n <= walk_group; nullptr is left out. Every trail is set.
void fetch_for_gets(pg_store *const *stores, const rocksdb::Slice *keys, int n, Trail *trails);

// While it lives a lookup of its thread begins where the trail ends.
class Ahead
{
public:
    explicit Ahead(const Trail *trail);
    ~Ahead();
    Ahead(const Ahead &) = delete;
    Ahead &operator=(const Ahead &) = delete;
};

// Shared by the owner, the event listener and the compaction filter; the last one frees it.
struct State {
    // Settings of the compaction filter.
    std::atomic<uint32_t> data_version{1};
    std::atomic<uint32_t> default_ttl{0};
    // Version (high half) and index of the partition in one word: a filter that took the one from before and the other
    // from after a split would drop live records.
    std::atomic<uint64_t> partition{uint64_t(-1) << 32};

    // Replaced whole, under rules_mu; a compaction keeps those that it started with. nullptr: none.
    std::mutex rules_mu;
    std::shared_ptr<const Rules> rules;

    const std::shared_ptr<ActiveList> memtable = std::make_shared<ActiveList>();

    // Observations. One bit of stalled per column family.
    std::atomic<uint32_t> stalled{0};
    std::atomic<int64_t> flushed{0};

    // The column family of the decree while the store is open. Held during a callback, so that the store is not taken
    // apart under it.
    std::mutex mu;
    rocksdb::DB *db = nullptr;
    rocksdb::ColumnFamilyHandle *meta = nullptr;
};

inline bool expired(uint32_t expire, uint32_t now) { return expire > 0 && expire <= now; }

std::shared_ptr<const rocksdb::SliceTransform> new_hash_key_transform();
// nullptr when the bytes are not the encoding of any rules, or of none.
std::shared_ptr<const Rules> parse_rules(const char *p, size_t len);
std::shared_ptr<rocksdb::CompactionFilterFactory> new_filter_factory(std::shared_ptr<State> state);

// Length of the hash key's part of a raw key, or 0 when the bytes are no raw key.
inline size_t hash_key_part(const rocksdb::Slice &key)
{
    if (key.size() < 2) {
        return 0;
    }
    auto p = reinterpret_cast<const unsigned char *>(key.data());
    size_t n = 2 + (size_t(p[0]) << 8 | p[1]);
    return n <= key.size() ? n : 0;
}

// A write batch whose bytes are replaced for every use: keeps its memory from one apply to the next, which a batch made
// from a string would not.
class RawBatch : public rocksdb::WriteBatch
{
public:
    RawBatch() : rocksdb::WriteBatch(std::string(12, '\0')) {}
    void assign(const char *rep, size_t len) { rep_.assign(rep, len); }
};

} // namespace pegasus

struct pg_state : pegasus::Counted {
    std::shared_ptr<pegasus::State> s;
};

struct pg_store : pegasus::Counted {
    rocksdb::DB *db;
    rocksdb::ColumnFamilyHandle *data;
    rocksdb::ColumnFamilyHandle *meta;
    std::shared_ptr<pegasus::ActiveList> memtable; // the state's, at hand
    std::shared_ptr<pegasus::State> state;
    pegasus::RawBatch batch;
    std::atomic<bool> abort_compact{false};
    bool prefix;
};
