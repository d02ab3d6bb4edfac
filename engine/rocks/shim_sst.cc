// What the offline tools need: files looked at one by one. Nothing here is on a hot path.
#include <rocksdb/sst_file_reader.h>
#include <rocksdb/table_properties.h>

#include <algorithm>
#include <cstring>

#include "shim_internal.hh"

using pegasus::guarded;
using pegasus::set_status;

struct pg_sst : pegasus::Counted {
    rocksdb::Options options;
    std::unique_ptr<rocksdb::SstFileReader> reader;
    std::unique_ptr<rocksdb::Iterator> it;
    bool moved = false; // the iterator stands on a record that was handed out
};

namespace {

size_t copy_out(const std::string &text, char *buf, size_t cap)
{
    size_t n = std::min(text.size(), cap);
    std::memcpy(buf, text.data(), n);
    return n;
}

} // namespace

extern "C" {

pg_sst *pg_sst_open(const char *path, size_t len, pg_status *st)
{
    return guarded(st, [&]() -> pg_sst * {
        auto f = std::make_unique<pg_sst>();
        f->reader = std::make_unique<rocksdb::SstFileReader>(f->options);
        auto s = f->reader->Open(std::string(path, len));
        if (!s.ok()) {
            set_status(st, s);
            return nullptr;
        }
        return f.release();
    });
}

void pg_sst_free(pg_sst *f) { delete f; }

void pg_sst_verify(pg_sst *f, pg_status *st)
{
    guarded(st, [&] { set_status(st, f->reader->VerifyChecksum(rocksdb::ReadOptions())); });
}

size_t pg_sst_properties(pg_sst *f, char *buf, size_t cap, pg_status *st)
{
    return guarded(st, [&]() -> size_t {
        return copy_out(f->reader->GetTableProperties()->ToString("\n", ": "), buf, cap);
    });
}

size_t pg_sst_family(pg_sst *f, char *buf, size_t cap, uint64_t *entries, pg_status *st)
{
    return guarded(st, [&]() -> size_t {
        auto p = f->reader->GetTableProperties();
        *entries = p->num_entries;
        return copy_out(p->column_family_name, buf, cap);
    });
}

void pg_sst_seek(pg_sst *f, const char *key, size_t len, pg_status *st)
{
    guarded(st, [&] {
        rocksdb::ReadOptions o;
        o.total_order_seek = true;
        f->it.reset(f->reader->NewIterator(o));
        f->it->Seek(rocksdb::Slice(key, len));
        f->moved = false;
        set_status(st, f->it->status());
    });
}

int pg_sst_next(pg_sst *f, pg_sst_record *r, pg_status *st)
{
    return guarded(st, [&]() -> int {
        if (f->moved) {
            f->it->Next();
        }
        f->moved = true;
        if (!f->it->Valid()) {
            set_status(st, f->it->status());
            return 0;
        }
        r->key = f->it->key().data();
        r->key_len = f->it->key().size();
        r->value = f->it->value().data();
        r->value_len = f->it->value().size();
        return 1;
    });
}

} // extern "C"
