// The memtable of the data family: a skip list that can fetch the memory of many searches side by side.
//
// A search in a memtable of a hundred thousand records goes through some twenty nodes, and all but the upper few lie in no cache of the
// processor. It waits for one after the other, 0.1 to 0.2 us each, and does next to nothing meanwhile: more than half of the time
// of an apply, and with it a sixth of what a replicated put costs all servers, was this waiting. The keys of a batch are
// known in advance, though. So before a batch is written, and before the gets of a turn are answered, the searches of up to 16 keys
// walk down their lists in step: each takes one step and asks for the memory of its next one, and by the time that its turn comes
// again, that has arrived. The real searches after them go on from where they ended. A batch whose keys come in order behind what was
// inserted last needs no search, and one search by itself, or a scan, asks for the nodes that it may need next.
//
// RocksDB's own list does not let anybody look at its nodes, hence this one, of the same kind: one writer, readers
// without locks, nothing is removed. It knows that keys are compared by their bytes, so that a comparison is no chain of virtual calls.
//
// Rejected: a memtable with another order of growth (a B-tree with readers beside the writer needs versions in its nodes
// and reads again; a hash table cannot be scanned in order); sorting the keys of a batch (neighbours in it have the upper nodes in
// common, which are in the caches anyway); threads.

#include <rocksdb/memtablerep.h>

#include <algorithm>
#include <cstring>
#include <new>
#include <optional>
#include <thread>

#include "shim_internal.hh"

namespace pegasus {
namespace {

using rocksdb::KeyHandle;
using rocksdb::MemTableRep;
using rocksdb::Slice;

constexpr uint32_t branching = 4;

const char *varint(const char *p, uint32_t *v)
{
    auto u = reinterpret_cast<const unsigned char *>(p);
    uint32_t result = 0;
    for (int shift = 0;; shift += 7) {
        uint32_t b = *u++;
        result |= (b & 127) << shift;
        if (b < 128 || shift == 28) {
            *v = result;
            return reinterpret_cast<const char *>(u);
        }
    }
}

uint64_t fixed64(const char *p)
{
    uint64_t v;
    std::memcpy(&v, p, sizeof v);
    return v;
}

// The sequence number and type behind the bytes of a user key; of equal keys the newest comes first.
constexpr size_t trailer = 8;
// What a search for any version of a key looks for.
constexpr uint64_t newest = UINT64_MAX;

struct Key {
    const char *data;
    size_t len;
    uint64_t version;

    Key(const char *data, size_t len, uint64_t version) : data(data), len(len), version(version) {}
    explicit Key(const Slice &internal)
        : data(internal.data()), len(internal.size() - trailer), version(fixed64(internal.data() + len))
    {
    }
    // entry: the length of the internal key, the internal key, and what else RocksDB has put there.
    static Key of(const char *entry)
    {
        uint32_t n;
        const char *p = varint(entry, &n);
        return Key(p, n - trailer, fixed64(p + n - trailer));
    }
    static Key of(const Node *n);
};

int compare(const Key &a, const Key &b)
{
    int c = std::memcmp(a.data, b.data, std::min(a.len, b.len));
    if (c != 0) {
        return c;
    }
    if (a.len != b.len) {
        return a.len < b.len ? -1 : 1;
    }
    return a.version == b.version ? 0 : a.version > b.version ? -1 : 1;
}

} // namespace

// A node has its entry behind itself and its links above the lowest in front of itself.
struct Node {
    std::atomic<Node *> lowest;

    const char *entry() const { return reinterpret_cast<const char *>(this + 1); }
    std::atomic<Node *> &link(int level) { return *(&lowest - level); }
    Node *next(int level) { return link(level).load(std::memory_order_acquire); }
};

namespace {

inline Key Key::of(const Node *n) { return of(n->entry()); }

std::atomic<uint64_t> lists{0}; // that there ever were

// Of this thread, see Ahead and Plan.
thread_local const Trail *ahead_of_get = nullptr;
thread_local Plan *ahead_of_batch = nullptr;

// RocksDB looks a key up through an iterator that it does not free, see SkipList::Get.
thread_local bool for_get = false;

// Memory from an arena. An arena is an allocator, and an allocator's memory is to be had through a memtable: neither is declared in a
// public header.
class Arenas : public MemTableRep
{
public:
    static void *take(rocksdb::Arena *arena, size_t n)
    {
        char *p = nullptr;
        Arenas(reinterpret_cast<rocksdb::Allocator *>(arena)).Allocate(n + sizeof(void *), &p);
        return aligned(p);
    }
    // The first place behind p where a pointer may lie.
    static char *aligned(char *p)
    {
        auto at = reinterpret_cast<uintptr_t>(p);
        return p + (-at & (alignof(void *) - 1));
    }
    void Insert(KeyHandle) override {}
    bool Contains(const char *) const override { return false; }
    size_t ApproximateMemoryUsage() override { return 0; }
    Iterator *GetIterator(rocksdb::Arena *) override { return nullptr; }

private:
    explicit Arenas(rocksdb::Allocator *a) : MemTableRep(a) {}
};

} // namespace

class Walk;

class SkipList : public MemTableRep
{
public:
    SkipList(rocksdb::Allocator *allocator, std::shared_ptr<ActiveList> active)
        : MemTableRep(allocator), _active(std::move(active))
    {
        char *unused;
        _head = allocate(max_height, 0, &unused);
        for (int i = 0; i < max_height; i++) {
            _head->link(i).store(nullptr, std::memory_order_relaxed);
            _before[i] = _head;
        }
        _active->list.store(this);
    }

    ~SkipList() override
    {
        SkipList *self = this;
        _active->list.compare_exchange_strong(self, nullptr);
        while (_active->users.load() != 0) {
            std::this_thread::yield(); // a walk is over in microseconds
        }
    }

    KeyHandle Allocate(const size_t len, char **buf) override
    {
        int height = 1;
        while (height < max_height && random() % branching == 0) {
            height++;
        }
        Node *node = allocate(height, len, buf);
        node->lowest.store(reinterpret_cast<Node *>(uintptr_t(height)), std::memory_order_relaxed); // until it is inserted
        return node;
    }

    void Insert(KeyHandle handle) override { InsertKey(handle); }

    bool InsertKey(KeyHandle handle) override
    {
        auto node = static_cast<Node *>(handle);
        int height = int(reinterpret_cast<uintptr_t>(node->lowest.load(std::memory_order_relaxed)));
        const Key key = Key::of(node);
        const Trail *trail = ahead_of_batch == nullptr ? nullptr : ahead_of_batch->next(Slice(key.data, key.len), _number);
        if (!follows(key)) {
            if (trail != nullptr) {
                std::copy_n(trail->before, max_height, _before);
            } else {
                find(key, _before);
            }
        }
        Node *next = pass(&_before[0], key, 0);
        if (next != nullptr && compare(Key::of(next), key) == 0) {
            return false;
        }
        if (height > _height.load(std::memory_order_relaxed)) {
            // A reader that has the new height already finds no links up there, and goes down.
            _height.store(height, std::memory_order_relaxed);
        }
        for (int i = 0; i < height; i++) {
            if (i > 0) {
                next = pass(&_before[i], key, i);
            }
            node->link(i).store(next, std::memory_order_relaxed);
            _before[i]->link(i).store(node, std::memory_order_release);
            _before[i] = node;
        }
        return true;
    }

    bool Contains(const char *entry) const override
    {
        const Key key = Key::of(entry);
        Node *n = find(key, nullptr);
        return n != nullptr && compare(Key::of(n), key) == 0;
    }

    size_t ApproximateMemoryUsage() override { return 0; } // beside what the allocator knows of

    void Get(const rocksdb::LookupKey &k, void *arg, bool (*callback)(void *arg, const char *entry)) override
    {
        struct Flag { // taken down also when the callback finds no memory for a value
            Flag() { for_get = true; }
            ~Flag() { for_get = false; }
        } flag;
        MemTableRep::Get(k, arg, callback);
    }

    Iterator *GetIterator(rocksdb::Arena *arena) override
    {
        return arena == nullptr ? new Cursor(this) : new (Arenas::take(arena, sizeof(Cursor))) Cursor(this);
    }

    Iterator *GetDynamicPrefixIterator(rocksdb::Arena *arena) override
    {
        alignas(Cursor) static thread_local char own[sizeof(Cursor)];
        static_assert(sizeof(Lookup) == sizeof(Cursor));
        return for_get ? new (own) Lookup(this) : GetIterator(arena);
    }

    // For the thread that inserts: whether keys from first to last, in order, come right behind what was inserted last.
    bool all_follow(const Slice &first, const Slice &last) const
    {
        if (!follows(Key(first.data(), first.size(), newest))) {
            return false;
        }
        Node *next = _before[0]->next(0);
        return next == nullptr || compare(Key::of(next), Key(last.data(), last.size(), newest)) > 0;
    }

private:
    friend class Walk;

    class Cursor : public Iterator
    {
    public:
        explicit Cursor(const SkipList *list) : _list(list) {}
        bool Valid() const override { return _node != nullptr; }
        const char *key() const override { return _node->entry(); }
        void Next() override
        {
            _node = _node->next(0);
            if (_node != nullptr) {
                // The node and the start of its record: by the time that this one has been read, they are here.
                auto p = reinterpret_cast<const char *>(_node->next(0));
                __builtin_prefetch(p);
                __builtin_prefetch(p + 64);
                __builtin_prefetch(p + 128);
            }
        }
        void Prev() override { _node = _list->last_before(Key::of(_node)); }
        void Seek(const Slice &internal, const char *) override { _node = _list->find(Key(internal), nullptr); }
        void SeekForPrev(const Slice &internal, const char *) override
        {
            const Key key(internal);
            _node = _list->find(key, nullptr);
            if (_node == nullptr || compare(Key::of(_node), key) != 0) {
                _node = _list->last_before(key);
            }
        }
        void SeekToFirst() override { _node = _list->_head->next(0); }
        void SeekToLast() override { _node = _list->last(); }

    protected:
        const SkipList *_list;
        Node *_node = nullptr;
    };

    class Lookup final : public Cursor
    {
    public:
        using Cursor::Cursor;
        void Seek(const Slice &internal, const char *) override
        {
            const Key key(internal);
            if (ahead_of_get != nullptr && ahead_of_get->list == _list->_number) {
                Node *before = ahead_of_get->before[0];
                _node = pass(&before, key, 0);
            } else {
                _node = _list->find(key, nullptr);
            }
        }
    };

    Node *allocate(int height, size_t len, char **buf)
    {
        size_t links = (height - 1) * sizeof(Node *);
        char *p = nullptr;
        MemTableRep::Allocate(links + sizeof(Node) + len + alignof(Node), &p);
        auto node = reinterpret_cast<Node *>(Arenas::aligned(p) + links);
        *buf = const_cast<char *>(node->entry());
        return node;
    }

    uint32_t random() // xorshift32 of Marsaglia
    {
        _random ^= _random << 13;
        _random ^= _random >> 17;
        _random ^= _random << 5;
        return _random >> 8;
    }

    // Tells whether key belongs right behind the record that was inserted last: records that come in order need no search.
    bool follows(const Key &key) const
    {
        Node *last = _before[0];
        if (last == _head || compare(Key::of(last), key) >= 0) {
            return false;
        }
        Node *next = last->next(0);
        return next == nullptr || compare(Key::of(next), key) > 0;
    }

    // Goes on from *at, which is before key, to the last node of the level that is, and returns the one behind that.
    static Node *pass(Node **at, const Key &key, int level)
    {
        Node *next;
        while ((next = (*at)->next(level)) != nullptr && compare(Key::of(next), key) < 0) {
            *at = next;
        }
        return next;
    }

    // The first node that is not before key, nullptr when there is none, and the last ones of every level that are.
    Node *find(const Key &key, Node **before) const
    {
        Node *at = _head, *next = nullptr, *beyond = nullptr;
        for (int level = _height.load(std::memory_order_relaxed) - 1; level >= 0; level--) {
            while ((next = at->next(level)) != nullptr && next != beyond) {
                if (level > 0) {
                    // Two searches in five go down here: so they do not wait for that node once they have waited for this one.
                    __builtin_prefetch(at->next(level - 1));
                }
                if (compare(Key::of(next), key) >= 0) {
                    break;
                }
                at = next;
            }
            beyond = next;
            if (before != nullptr) {
                before[level] = at;
            }
        }
        return next;
    }

    Node *last_before(const Key &key) const
    {
        Node *before[max_height];
        find(key, before);
        return before[0] == _head ? nullptr : before[0];
    }

    Node *last() const
    {
        Node *at = _head;
        for (int level = _height.load(std::memory_order_relaxed) - 1; level >= 0; level--) {
            while (Node *next = at->next(level)) {
                at = next;
            }
        }
        return at == _head ? nullptr : at;
    }

    std::shared_ptr<ActiveList> _active;
    Node *_head;
    const uint64_t _number = lists.fetch_add(1, std::memory_order_relaxed) + 1;
    // Of every level, a node before what was inserted last and close to it, or that itself; the head of levels that have no nodes.
    Node *_before[max_height];
    std::atomic<int> _height{1};
    uint32_t _random = 2463534242;
};

// A search that goes along with others.
class Walk
{
public:
    Walk() : _key(nullptr, 0, 0) {}
    Walk(const SkipList *list, const Slice &key, Trail *trail)
        : _at(list->_head), _level(list->_height.load(std::memory_order_relaxed) - 1), _key(key.data(), key.size(), newest), _trail(trail)
    {
        _next = _at->next(_level);
        trail->list = list->_number;
        std::fill(trail->before + _level + 1, trail->before + max_height, _at);
    }

    // Asks for the memory that the start of a search needs.
    static void fetch_start(const SkipList *list)
    {
        __builtin_prefetch(&list->_head->link(list->_height.load(std::memory_order_relaxed) - 1));
    }

    // Takes the steps for which the memory is there and asks for that of the next; false at the end.
    bool step()
    {
        for (;;) {
            if (_next != nullptr && _next != _beyond && compare(Key::of(_next), _key) < 0) {
                _at = _next;
            } else {
                _beyond = _next;
                _trail->before[_level] = _at;
                if (_level-- == 0) {
                    return false;
                }
            }
            _next = _at->next(_level);
            if (_next != nullptr && _next != _beyond) {
                auto p = reinterpret_cast<const char *>(_next);
                __builtin_prefetch(p - _level * sizeof(Node *));
                __builtin_prefetch(p + sizeof(Node) + 32);
                return true;
            }
        }
    }

    // Goes n ways in step.
    static void all(Walk *w, int n)
    {
        while (n > 0) {
            for (int i = 0; i < n;) {
                if (w[i].step()) {
                    i++;
                } else {
                    w[i] = w[--n];
                }
            }
        }
    }

private:
    Node *_at = nullptr, *_next = nullptr, *_beyond = nullptr;
    int _level = 0;
    Key _key;
    Trail *_trail = nullptr;
};

namespace {

class SkipListFactory : public rocksdb::MemTableRepFactory
{
public:
    explicit SkipListFactory(std::shared_ptr<ActiveList> active) : _active(std::move(active)) {}
    // The name goes into the options file of the store, which other programs read: it is a skip list to them.
    const char *Name() const override { return rocksdb::SkipListFactory::kClassName(); }
    using MemTableRepFactory::CreateMemTableRep;
    MemTableRep *CreateMemTableRep(const MemTableRep::KeyComparator &, rocksdb::Allocator *allocator,
                                   const rocksdb::SliceTransform *, rocksdb::Logger *) override
    {
        return new SkipList(allocator, _active);
    }
    bool CanHandleDuplicatedKey() const override { return true; }

private:
    std::shared_ptr<ActiveList> _active;
};

} // namespace

std::shared_ptr<rocksdb::MemTableRepFactory> new_memtable_factory(std::shared_ptr<ActiveList> active)
{
    return std::make_shared<SkipListFactory>(std::move(active));
}

// Of the records of the data family in RocksDB's representation of a batch, up to the first of another kind: tag, key, value. The
// decree's, which is longer than the five bytes of a length, stands behind them: reading one does not leave the batch.
Plan::Plan(ActiveList &active, const char *rep, size_t len)
{
    constexpr size_t header = 12;
    constexpr char tag_delete = 0, tag_put = 1;
    const char *p = rep + header, *end = rep + len;
    uint32_t n = 0; // first the number of records: that of the decree and one more need no company
    std::memcpy(&n, p - sizeof n, sizeof n);
    if (n < 3) {
        return;
    }
    auto take = [&](Slice *s) {
        if (p == end || (p = varint(p, &n)) > end || n > size_t(end - p)) {
            return false;
        }
        *s = Slice(p, n);
        p += n;
        return true;
    };
    Pinned pinned(active);
    if (pinned.list() == nullptr) {
        return;
    }
    int keys = 0;
    bool ascending = true;
    Slice key, value;
    for (; keys < max_ahead && p < end && (*p == tag_put || *p == tag_delete); keys++) {
        bool put = *p++ == tag_put;
        Slice before = key;
        if (!take(&key) || (put && !take(&value))) {
            return; // RocksDB will say what is wrong with it
        }
        ascending = ascending && (keys == 0 || key.compare(before) > 0);
        _records[keys].data = key.data();
        _records[keys].len = key.size();
    }
    if (ascending && keys > 0 && pinned.list()->all_follow(Slice(_records[0].data, _records[0].len), key)) {
        return; // there is nothing to search
    }
    for (int first = 0; first < keys; first += walk_group) {
        Walk w[walk_group];
        int k = std::min(keys - first, walk_group);
        for (int i = 0; i < k; i++) {
            auto &r = _records[first + i];
            w[i] = Walk(pinned.list(), Slice(r.data, r.len), &r.trail);
        }
        Walk::all(w, k);
    }
    _n = keys;
    ahead_of_batch = this;
}

Plan::~Plan() { ahead_of_batch = nullptr; }

const Trail *Plan::next(const Slice &key, uint64_t list)
{
    if (_at == _n || Slice(_records[_at].data, _records[_at].len) != key || _records[_at].trail.list != list) {
        _n = _at; // this is not what it was made for
        return nullptr;
    }
    return &_records[_at++].trail;
}

Ahead::Ahead(const Trail *trail) { ahead_of_get = trail; }
Ahead::~Ahead() { ahead_of_get = nullptr; }

// With many stores all of the way to the first node of a list is in no cache either, so that is gone in step as well.
void fetch_for_gets(pg_store *const *stores, const Slice *keys, int n, Trail *trails)
{
    std::optional<Pinned> pins[walk_group];
    int of[walk_group]; // the keys that have a list
    int k = 0;
    for (int i = 0; i < n; i++) {
        trails[i].list = 0;
        if (stores[i] != nullptr) {
            __builtin_prefetch(stores[i]->memtable.get(), 1);
        }
    }
    for (int i = 0; i < n; i++) {
        if (stores[i] != nullptr && pins[k].emplace(*stores[i]->memtable).list() != nullptr) {
            __builtin_prefetch(pins[k]->list());
            of[k++] = i;
        }
    }
    if (k < 2) {
        return;
    }
    for (int j = 0; j < k; j++) {
        Walk::fetch_start(pins[j]->list());
    }
    Walk w[walk_group];
    for (int j = 0; j < k; j++) {
        w[j] = Walk(pins[j]->list(), keys[of[j]], &trails[of[j]]);
    }
    Walk::all(w, k);
}

} // namespace pegasus
