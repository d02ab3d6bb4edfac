// Iterators: a slice of rows per call, straight into the caller's arena.

#include <chrono>
#include <cstring>

#include "shim_internal.hh"

using rocksdb::Slice;

struct pg_iter : pegasus::Counted {
    std::string lower, upper;
    Slice lower_slice, upper_slice; // RocksDB keeps pointers to these
    std::unique_ptr<rocksdb::Iterator> it;
    bool reverse = false;
    bool sought = false;
};

namespace {

// Rows between two readings of the clock: a row costs some hundred nanoseconds.
constexpr uint64_t rows_per_clock = 16;

// Tells whether all of [lower, upper) has one hash key, so that the prefix filters of whole files may be asked.
bool one_prefix(const Slice &lower, const Slice &upper)
{
    size_t n = pegasus::hash_key_part(lower);
    if (n == 0 || upper.empty()) {
        return false;
    }
    std::string next(lower.data(), n);
    while (!next.empty() && next.back() == '\xff') {
        next.pop_back();
    }
    if (next.empty()) {
        return false;
    }
    next.back() = char(next.back() + 1);
    return upper.compare(next) <= 0;
}

void put_u32(char *p, size_t v)
{
    auto u = uint32_t(v);
    std::memcpy(p, &u, sizeof u);
}

} // namespace

extern "C" pg_iter *pg_iter_new(pg_store *s, const char *lower, size_t lower_len, const char *upper, size_t upper_len,
                                int flags, pg_status *st)
{
    return pegasus::guarded(st, [&]() -> pg_iter * {
        auto p = std::make_unique<pg_iter>();
        p->lower.assign(lower, lower_len);
        p->upper.assign(upper, upper_len);
        p->lower_slice = p->lower;
        p->upper_slice = p->upper;
        p->reverse = flags & PG_REVERSE;

        rocksdb::ReadOptions ro;
        ro.read_tier = flags & PG_CACHE_ONLY ? rocksdb::kBlockCacheTier : rocksdb::kReadAllTier;
        ro.fill_cache = !(flags & PG_NO_FILL);
        if (lower_len > 0) {
            ro.iterate_lower_bound = &p->lower_slice;
        }
        if (upper_len > 0) {
            ro.iterate_upper_bound = &p->upper_slice;
        }
        // Backwards the seek starts at the upper bound, which has another prefix: filters cannot be asked.
        bool prefix = s->prefix && !(flags & PG_NO_PREFIX) && !p->reverse && one_prefix(p->lower_slice, p->upper_slice);
        ro.prefix_same_as_start = prefix;
        ro.total_order_seek = !prefix;
        p->it.reset(s->db->NewIterator(ro, s->data));
        return p.release();
    });
}

extern "C" void pg_iter_free(pg_iter *it) { delete it; }

extern "C" int pg_iter_next(pg_iter *p, char *buf, uint64_t cap, uint64_t max_rows, uint64_t max_bytes, int64_t max_us,
                            uint32_t value_cut, pg_slice *slice, pg_status *st)
{
    auto step = [&]() -> int {
        auto &it = *p->it;
        if (!p->sought) {
            p->sought = true;
            if (p->reverse) {
                // The upper bound is exclusive, and RocksDB starts below it by itself.
                it.SeekToLast();
            } else if (p->lower.empty()) {
                it.SeekToFirst();
            } else {
                it.Seek(p->lower_slice);
            }
        }
        std::chrono::steady_clock::time_point deadline;
        if (max_us > 0) {
            deadline = std::chrono::steady_clock::now() + std::chrono::microseconds(max_us);
        }
        for (;;) {
            bool limit = (max_rows > 0 && slice->rows >= max_rows) ||
                         (max_bytes > 0 && slice->rows > 0 && slice->used - 8 * slice->rows >= max_bytes) ||
                         (max_us > 0 && slice->rows > 0 && slice->rows % rows_per_clock == 0 &&
                          std::chrono::steady_clock::now() >= deadline);
            if (!it.Valid()) {
                rocksdb::Status s = it.status();
                if (s.ok()) {
                    return PG_END;
                }
                if (slice->rows > 0) {
                    return PG_MORE; // the rows so far are good; the next call tells what is wrong
                }
                if (s.IsIncomplete()) {
                    return PG_BLOCKED;
                }
                pegasus::set_status(st, s);
                return PG_ERROR;
            }
            if (limit) {
                return PG_MORE;
            }
            Slice key = it.key(), value = it.value();
            size_t value_len = value.size();
            if (value_cut > 0 && value_len > value_cut) {
                value_len = value_cut;
            }
            uint64_t need = 8 + key.size() + value_len;
            if (slice->used + need > cap) {
                slice->need = need;
                return PG_FULL;
            }
            char *out = buf + slice->used;
            put_u32(out, key.size());
            put_u32(out + 4, value_len);
            std::memcpy(out + 8, key.data(), key.size());
            std::memcpy(out + 8 + key.size(), value.data(), value_len);
            slice->used += need;
            slice->rows++;
            if (p->reverse) {
                it.Prev();
            } else {
                it.Next();
            }
        }
    };
    try {
        return step();
    } catch (const std::exception &e) {
        pegasus::set_exception(st, e.what());
    } catch (...) {
        pegasus::set_exception(st, "unknown exception");
    }
    return PG_ERROR;
}
