// The compaction filter and the prefix extractor: what RocksDB's background work must know of keys and values.
// The filter states in C++ what engine.Filter states in Go, and is tested against it.

#include <rocksdb/compaction_filter.h>

#include <array>
#include <cstring>
#include <ctime>
#include <string_view>

#include "shim_internal.hh"

namespace pegasus {
namespace {

constexpr int64_t epoch_offset = 1451606400;
// Records that are filtered with one reading of the clock.
constexpr uint32_t records_per_clock = 1024;

// CRC-64/NVME, a byte at a time: it runs only in stores of a table that was split, and there behind decompression.
struct Crc64 {
    std::array<uint64_t, 256> table;
    Crc64()
    {
        for (uint64_t i = 0; i < 256; i++) {
            uint64_t crc = i;
            for (int bit = 0; bit < 8; bit++) {
                crc = crc & 1 ? crc >> 1 ^ 0x9a6c9329ac4bc9b5ULL : crc >> 1;
            }
            table[i] = crc;
        }
    }
    uint64_t of(const char *p, size_t n) const
    {
        uint64_t crc = ~0ULL;
        for (size_t i = 0; i < n; i++) {
            crc = table[uint8_t(crc) ^ uint8_t(p[i])] ^ crc >> 8;
        }
        return ~crc;
    }
};

const Crc64 crc64;

bool contains(const rocksdb::Slice &key, const std::string &pattern)
{
    return std::string_view(key.data(), key.size()).find(pattern) != std::string_view::npos;
}

bool matches_key(const Rule &r, const rocksdb::Slice &key)
{
    if (r.pattern.empty()) {
        return false;
    }
    switch (r.match) {
    case 1:
        return key.starts_with(r.pattern);
    case 2:
        return key.ends_with(r.pattern);
    default:
        return contains(key, r.pattern);
    }
}

bool matches(const Operation &op, uint32_t now, uint32_t expire, const rocksdb::Slice &hash_key, const rocksdb::Slice &sort_key)
{
    for (const Rule &r : op.rules) {
        bool ok = r.kind == 0   ? matches_key(r, hash_key)
                  : r.kind == 1 ? matches_key(r, sort_key)
                                : (expire == 0 && r.start == 0 && r.stop == 0) ||
                                      (expire >= now + r.start && expire <= now + r.stop);
        if (!ok) {
            return false;
        }
    }
    return !op.rules.empty();
}

class RecordFilter : public rocksdb::CompactionFilter
{
public:
    RecordFilter(const State &s, std::shared_ptr<const Rules> rules)
        : _rules(std::move(rules)),
          _version(s.data_version.load()),
          _default_ttl(s.default_ttl.load()),
          _partition(s.partition.load()),
          _partition_version(int32_t(_partition >> 32)),
          _partition_index(int32_t(uint32_t(_partition))),
          _expire_at(_version == 2 ? 1 : 0),
          _header(_version == 0 ? 4 : _version == 1 ? 12 : 13)
    {
    }

    const char *Name() const override { return "pegasus.Filter"; }

    bool Filter(int,
                const rocksdb::Slice &key,
                const rocksdb::Slice &value,
                std::string *new_value,
                bool *changed) const override
    {
        if (key.size() < 2 || value.size() < _header) {
            return false;
        }
        auto p = reinterpret_cast<const unsigned char *>(value.data()) + _expire_at;
        uint32_t expire = uint32_t(p[0]) << 24 | uint32_t(p[1]) << 16 | uint32_t(p[2]) << 8 | p[3];
        bool set = expire == 0 && _default_ttl != 0;
        if (set) {
            expire = now() + _default_ttl;
        }
        if (_rules != nullptr && apply_rules(key, &expire, &set)) {
            return true;
        }
        if ((expire != 0 && expired(expire, now())) || stale(key)) {
            return true;
        }
        if (set) {
            new_value->assign(value.data(), value.size());
            for (int i = 0; i < 4; i++) {
                (*new_value)[_expire_at + i] = char(expire >> (24 - 8 * i));
            }
            *changed = true;
        }
        return false;
    }

private:
    // One filter serves one thread of one compaction.
    uint32_t now() const
    {
        if (_clock_uses++ % records_per_clock == 0) {
            _now = uint32_t(std::time(nullptr) - epoch_offset);
        }
        return _now;
    }

    // Runs the operations on a record; true: one of them deletes it.
    bool apply_rules(const rocksdb::Slice &key, uint32_t *expire, bool *set) const
    {
        size_t part = hash_key_part(key);
        if (part == 0) {
            return false;
        }
        rocksdb::Slice hash_key(key.data() + 2, part - 2), sort_key(key.data() + part, key.size() - part);
        for (const Operation &op : *_rules) {
            if (!matches(op, now(), *expire, hash_key, sort_key)) {
                continue;
            }
            switch (op.op) {
            case 0:
                return true;
            case 1:
                *expire = now() + op.value;
                *set = true;
                break;
            case 2:
                if (*expire != 0) {
                    *expire += op.value;
                    *set = true;
                }
                break;
            case 3:
                *expire = op.value - uint32_t(epoch_offset);
                *set = true;
                break;
            }
        }
        return false;
    }

    bool stale(const rocksdb::Slice &key) const
    {
        if (_partition_version < 0 || _partition_index > _partition_version) {
            return false;
        }
        size_t part = hash_key_part(key);
        if (part == 0) {
            return false;
        }
        uint64_t hash = part > 2 ? crc64.of(key.data() + 2, part - 2)
                                 : crc64.of(key.data() + 2, key.size() - 2);
        return (hash & uint64_t(_partition_version)) != uint64_t(_partition_index);
    }

    const std::shared_ptr<const Rules> _rules;
    const uint32_t _version;
    const uint32_t _default_ttl;
    const uint64_t _partition;
    const int32_t _partition_version;
    const int32_t _partition_index;
    const size_t _expire_at;
    const size_t _header;
    mutable uint32_t _clock_uses = 0;
    mutable uint32_t _now = 0;
};

// A factory, because a compaction must see the settings of its own start, and its threads must not share a filter.
class FilterFactory : public rocksdb::CompactionFilterFactory
{
public:
    explicit FilterFactory(std::shared_ptr<State> state) : _state(std::move(state)) {}
    const char *Name() const override { return "pegasus.FilterFactory"; }
    std::unique_ptr<rocksdb::CompactionFilter>
    CreateCompactionFilter(const rocksdb::CompactionFilter::Context &) override
    {
        std::shared_ptr<const Rules> rules;
        {
            std::lock_guard<std::mutex> lock(_state->rules_mu);
            rules = _state->rules;
        }
        return std::make_unique<RecordFilter>(*_state, std::move(rules));
    }

private:
    std::shared_ptr<State> _state;
};

// The prefix of a key is its hash key with the length before it. The name is the one of Apache Pegasus, whose filters
// are built over the same prefixes: it makes the filters of its backups usable.
class HashKeyTransform : public rocksdb::SliceTransform
{
public:
    const char *Name() const override { return "pegasus.HashkeyTransform"; }
    rocksdb::Slice Transform(const rocksdb::Slice &key) const override
    {
        return rocksdb::Slice(key.data(), hash_key_part(key));
    }
    bool InDomain(const rocksdb::Slice &key) const override { return hash_key_part(key) > 0; }
};

} // namespace

std::shared_ptr<const Rules> parse_rules(const char *p, size_t len)
{
    const char *end = p + len;
    bool ok = len > 0;
    auto take = [&](void *to, size_t n) {
        ok = ok && size_t(end - p) >= n;
        if (ok) {
            std::memcpy(to, p, n);
            p += n;
        }
    };
    auto rules = std::make_shared<Rules>();
    uint32_t operations = 0;
    take(&operations, 4);
    for (uint32_t i = 0; ok && i < operations; i++) {
        Operation op;
        uint32_t conditions = 0;
        take(&op.op, 1);
        take(&op.value, 4);
        take(&conditions, 4);
        for (uint32_t j = 0; ok && j < conditions; j++) {
            Rule r;
            uint32_t pattern = 0;
            take(&r.kind, 1);
            take(&r.match, 1);
            take(&r.start, 4);
            take(&r.stop, 4);
            take(&pattern, 4);
            ok = ok && size_t(end - p) >= pattern;
            if (ok) {
                r.pattern.assign(p, pattern);
                p += pattern;
                op.rules.push_back(std::move(r));
            }
        }
        rules->push_back(std::move(op));
    }
    if (!ok || p != end || rules->empty()) {
        return nullptr;
    }
    return rules;
}

std::shared_ptr<const rocksdb::SliceTransform> new_hash_key_transform()
{
    return std::make_shared<HashKeyTransform>();
}

std::shared_ptr<rocksdb::CompactionFilterFactory> new_filter_factory(std::shared_ptr<State> state)
{
    return std::make_shared<FilterFactory>(std::move(state));
}

} // namespace pegasus
