// The floor of a store: the same RocksDB with the same options as a replica's, called from C++ without anything around it, and
// the same kind of log write.
//
//   store DIR RECORDS PARTITIONS BATCH CACHE_MIB
//
// loads RECORDS records (34-byte keys, 112-byte values, as a replica stores 32 and 100) over PARTITIONS databases and prints lines
// "name value", CPU microseconds: get, put (one record of a batch of BATCH), log (one pwrite of BATCH records and its fdatasync).

#include <fcntl.h>
#include <rocksdb/cache.h>
#include <rocksdb/db.h>
#include <rocksdb/filter_policy.h>
#include <rocksdb/table.h>
#include <rocksdb/write_batch.h>
#include <time.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <memory>
#include <random>
#include <string>
#include <vector>

static void check(const rocksdb::Status &s)
{
    if (!s.ok()) {
        fprintf(stderr, "%s\n", s.ToString().c_str());
        exit(1);
    }
}

static double cpu_us()
{
    timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return double(t.tv_sec) * 1e6 + double(t.tv_nsec) / 1e3;
}

static std::string key(uint64_t n)
{
    char buf[48];
    snprintf(buf, sizeof buf, "%032llu", static_cast<unsigned long long>(n));
    return std::string("\0\x20", 2) + buf;
}

int main(int argc, char **argv)
{
    if (argc != 6) {
        return 2;
    }
    const std::string dir = argv[1];
    const uint64_t records = strtoull(argv[2], nullptr, 10);
    const size_t parts = strtoull(argv[3], nullptr, 10), batch = strtoull(argv[4], nullptr, 10), cache = strtoull(argv[5], nullptr, 10);

    rocksdb::Options o;
    o.create_if_missing = true;
    o.allow_concurrent_memtable_write = false;
    o.avoid_flush_during_shutdown = true;
    o.write_buffer_size = 16 << 20;
    o.max_write_buffer_number = 4;
    o.arena_block_size = 64 << 10;
    o.level0_slowdown_writes_trigger = 30;
    o.level0_stop_writes_trigger = 60;
    o.compression = rocksdb::kNoCompression;
    rocksdb::BlockBasedTableOptions t;
    t.block_cache = rocksdb::NewLRUCache(cache << 20);
    t.block_size = 4 << 10;
    t.format_version = 5;
    t.cache_index_and_filter_blocks = true;
    t.cache_index_and_filter_blocks_with_high_priority = true;
    t.pin_l0_filter_and_index_blocks_in_cache = true;
    t.filter_policy.reset(rocksdb::NewBloomFilterPolicy(10));
    o.table_factory.reset(rocksdb::NewBlockBasedTableFactory(t));

    std::vector<std::unique_ptr<rocksdb::DB>> dbs;
    for (size_t i = 0; i < parts; i++) {
        rocksdb::DB *db = nullptr;
        check(rocksdb::DB::Open(o, dir + "/p" + std::to_string(i), &db));
        dbs.emplace_back(db);
    }
    rocksdb::WriteOptions wo;
    wo.disableWAL = true;
    std::mt19937_64 rng(1);
    std::string value(112, 'v');
    auto fill = [&] {
        for (size_t i = 12; i < value.size(); i++) {
            value[i] = char(rng());
        }
    };
    // Record n is in partition n % parts. A batch is of one partition; next says which of its records.
    auto put = [&](size_t part, auto next) {
        rocksdb::WriteBatch b;
        for (size_t i = 0; i < batch; i++) {
            b.Put(key(next() * parts + part), value);
        }
        check(dbs[part]->Write(wo, &b));
    };
    const uint64_t per = records / parts;
    for (size_t part = 0; part < parts; part++) {
        for (uint64_t at = 0; at < per + 1;) {
            fill();
            put(part, [&] { return at++; });
        }
    }

    const int puts = int(200000 / batch);
    double begin = cpu_us();
    for (int i = 0; i < puts; i++) {
        put(rng() % parts, [&] { return rng() % per; });
    }
    printf("put %.3f\n", (cpu_us() - begin) / double(puts) / double(batch));

    rocksdb::ReadOptions ro;
    rocksdb::PinnableSlice out;
    const int gets = 300000;
    for (int round = 0; round < 2; round++) { // the first one warms the cache
        begin = cpu_us();
        for (int i = 0; i < gets; i++) {
            uint64_t n = rng() % (per * parts);
            rocksdb::DB *db = dbs[n % parts].get();
            check(db->Get(ro, db->DefaultColumnFamily(), key(n), &out));
            out.Reset();
        }
    }
    printf("get %.3f\n", (cpu_us() - begin) / gets);

    const std::string log = dir + "/log";
    int fd = open(log.c_str(), O_RDWR | O_CREAT | O_TRUNC, 0644);
    const size_t size = batch * 220;
    std::string record(size, 'r');
    const int writes = 2000;
    if (fd < 0 || posix_fallocate(fd, 0, off_t(size) * writes) != 0) {
        perror("log");
        return 1;
    }
    begin = cpu_us();
    for (int i = 0; i < writes; i++) {
        if (pwrite(fd, record.data(), size, off_t(size) * i) != ssize_t(size) || fdatasync(fd) != 0) {
            perror("log");
            return 1;
        }
    }
    printf("log %.3f\n", (cpu_us() - begin) / writes);
    close(fd);
    return 0;
}
