#define _GNU_SOURCE
// The floor of a replica: the least that a server of a group of three can do for gets and puts that clients of Apache Pegasus
// send, in one thread.
//
// What it does, because it cannot be left out: it takes requests off the wire, and a put is answered when it lies in a log that
// was synced on every member. Everything read in one round (one epoll_wait) goes together: one prepare per peer with all puts of
// the round, one write of the log with the puts of clients and peers, one fdatasync, one ack per peer, one write per connection.
// Prepares leave before the sync, so that members sync at the same time; the thread itself waits for its disk, which is cheaper
// than to hand that to another one. One connection per pair of members carries both directions.
//
// What it leaves out, so that it is a floor: the store (a get is answered from a ready-made reply, a put is applied nowhere),
// partitions, ballots, leases, checks of any kind, checksums, recovery, timeouts, and limits on whom one waits for: who does not
// read its answers holds up all. The log is one file that was written before, so that its blocks are there, and wraps around.
//
//   replica LOG MIB     MIB: size of the log file
//
// It prints its port, reads its configuration from standard input (u32 of this machine's byte order: number of peers to dial, their
// ports; then the replies it knows as frames of THFT, and u32 0), prints "ready" when it has both its peers, then a line of
// counters for whatever it reads, and ends when standard input ends. A request is answered with the reply of its name + "_ACK",
// the sequence id put in; an unknown one, a frame that makes no sense, and a put while a peer is missing close the connection.
// Limits: 64 KiB of a request, 65,536 puts under way, 512 descriptors.

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

enum {
    IN = 256 << 10,
    OUT = 256 << 10,
    FRAME = 64 << 10,   // of a request's or reply's body
    ROUND = 128 << 10,  // of one prepare; a larger round becomes several
    THEIRS = 256 << 10, // of one write of peers' puts; likewise
    MAX_FDS = 512,
    PENDING = 1 << 16,
    PEERS = 2,
    ANSWERS = 16,
    HEADER = 48, // of a request
};

enum kind { UNKNOWN, CLIENT, PEER };

struct conn {
    int fd;
    enum kind kind;
    uint64_t id;      // no two connections have the same
    uint64_t got;     // from a peer: number of its last prepare, 0 when that is acknowledged
    uint64_t acked;   // by a peer: number of our last prepare that it has synced
    size_t have, due; // bytes in in and out
    int listed;       // in dirty
    char in[IN], out[OUT];
};

// link is the head of what goes between peers; len bytes follow.
struct link {
    char type[4]; // PEER introduces, PREP prepares, ACKS acknowledges all up to number
    uint32_t len;
    uint64_t number;
};

struct answer {
    const char *frame, *name; // name: of the request, name_len bytes
    size_t len, seq, name_len; // seq: where the sequence id stands
};

struct pending {
    int fd;
    uint64_t conn, number; // of the connection and of the prepare
    uint32_t seq;          // as it came
};

static struct conn *conns[MAX_FDS], *peers[PEERS];
static int linked; // of peers
static uint64_t conn_ids;
static int dirty[MAX_FDS], n_dirty; // connections with bytes in out
static int ep;

static struct answer answers[ANSWERS], *put_answer;
static int n_answers;

static int log_fd;
static off_t log_at, log_size;
static char mine[ROUND], theirs[THEIRS]; // mine: a link, then the puts of this round; theirs: puts of peers
static size_t mine_len = sizeof(struct link), theirs_len;
static uint64_t sent, synced; // numbers of our prepares

static struct pending pending[PENDING];
static uint32_t first, next; // of pending; they run on beyond its size

static uint64_t n_requests, n_puts, n_syncs;

static void die(const char *what)
{
    perror(what);
    exit(1);
}

static void bad(const char *what)
{
    fprintf(stderr, "configuration: %s\n", what);
    exit(1);
}

static uint32_t be32(const char *p)
{
    uint32_t v;
    memcpy(&v, p, 4);
    return ntohl(v);
}

static void write_all(int fd, const char *p, size_t n)
{
    while (n > 0) {
        ssize_t k = write(fd, p, n);
        if (k < 0 && errno != EINTR) {
            return; // the next read tells
        }
        p += k > 0 ? k : 0;
        n -= k > 0 ? (size_t)k : 0;
    }
}

static void read_all(void *p, size_t n)
{
    for (size_t at = 0; at < n;) {
        ssize_t k = read(STDIN_FILENO, (char *)p + at, n - at);
        if (k == 0 || (k < 0 && errno != EINTR)) {
            bad("it ends too early");
        }
        at += k > 0 ? (size_t)k : 0;
    }
}

static void flush(struct conn *c)
{
    write_all(c->fd, c->out, c->due);
    c->due = 0;
}

static void flush_all(void)
{
    for (int i = 0; i < n_dirty; i++) {
        struct conn *c = conns[dirty[i]];
        if (c != NULL) {
            flush(c);
            c->listed = 0;
        }
    }
    n_dirty = 0;
}

// room returns where the next n bytes for a connection go; they leave with flush_all.
static char *room(struct conn *c, size_t n)
{
    if (c->due + n > OUT) {
        flush(c);
    }
    if (!c->listed) {
        c->listed = 1;
        dirty[n_dirty++] = c->fd;
    }
    c->due += n;
    return c->out + c->due - n;
}

static void reply(struct conn *c, const struct answer *a, uint32_t seq)
{
    char *p = room(c, a->len);
    memcpy(p, a->frame, a->len);
    memcpy(p + a->seq, &seq, 4);
}

// answer_puts answers those that all members have synced.
static void answer_puts(void)
{
    uint64_t done = synced;
    for (int i = 0; i < PEERS; i++) {
        uint64_t acked = peers[i] == NULL ? 0 : peers[i]->acked;
        done = acked < done ? acked : done;
    }
    for (; first != next && pending[first % PENDING].number <= done; first++) {
        const struct pending *p = &pending[first % PENDING];
        struct conn *c = conns[p->fd];
        if (c != NULL && c->id == p->conn) {
            reply(c, put_answer, p->seq);
        }
    }
}

static void sync_log(size_t own)
{
    size_t n = own + theirs_len;
    if (log_at + (off_t)n > log_size) {
        log_at = 0;
    }
    const struct iovec v[] = {{mine, own}, {theirs, theirs_len}};
    if (pwritev(log_fd, v, 2, log_at) != (ssize_t)n || fdatasync(log_fd) != 0) {
        die("log");
    }
    log_at += (off_t)n;
    n_syncs++;
}

// end_round lets everything out that a round has brought. It closes no connection.
static void end_round(void)
{
    size_t own = mine_len > sizeof(struct link) ? mine_len : 0;
    if (own > 0) {
        const struct link l = {"PREP", (uint32_t)(own - sizeof l), ++sent};
        memcpy(mine, &l, sizeof l);
        for (int i = 0; i < PEERS; i++) {
            if (peers[i] != NULL) {
                write_all(peers[i]->fd, mine, own);
            }
        }
    }
    answer_puts(); // of earlier rounds
    flush_all();
    if (own + theirs_len == 0) {
        return;
    }
    sync_log(own);
    synced = sent;
    mine_len = sizeof(struct link);
    theirs_len = 0;
    for (int i = 0; i < PEERS; i++) {
        if (peers[i] != NULL && peers[i]->got > 0) {
            const struct link l = {"ACKS", 0, peers[i]->got};
            memcpy(room(peers[i], sizeof l), &l, sizeof l);
            peers[i]->got = 0;
        }
    }
    flush_all();
}

static int put(struct conn *c, uint32_t seq, const char *args, uint32_t len)
{
    if (linked < PEERS || next - first == PENDING) {
        return -1;
    }
    if (mine_len + sizeof len + len > ROUND) {
        end_round();
    }
    memcpy(mine + mine_len, &len, sizeof len);
    memcpy(mine + mine_len + sizeof len, args, len);
    mine_len += sizeof len + len;
    pending[next++ % PENDING] = (struct pending){c->fd, c->id, sent + 1, seq};
    n_puts++;
    return 0;
}

// request takes one off the beginning of in; it returns its size, 0 when there is more to come, -1 when it makes no sense.
static ssize_t request(struct conn *c, const char *in, size_t have)
{
    if (have < HEADER) {
        return memcmp(in, "THFT", have < 4 ? have : 4) == 0 ? 0 : -1;
    }
    uint32_t body = be32(in + 16); // behind magic, version, length of the header, crc
    if (memcmp(in, "THFT", 4) != 0 || be32(in + 4) != 0 || be32(in + 8) != HEADER || body < 12 || body > FRAME) {
        return -1;
    }
    if (have < HEADER + body) {
        return 0;
    }
    const char *message = in + HEADER, *name = message + 8; // a message begin: version and type, name, sequence id
    uint32_t name_len = be32(message + 4), seq;
    if (be32(message) != 0x80010001 || name_len > body - 12) {
        return -1;
    }
    memcpy(&seq, name + name_len, 4);
    n_requests++;
    for (int i = 0; i < n_answers; i++) {
        const struct answer *a = &answers[i];
        if (a->name_len != name_len || memcmp(a->name, name, name_len) != 0) {
            continue;
        }
        if (a != put_answer) {
            reply(c, a, seq);
        } else if (put(c, seq, name + name_len + 4, body - 12 - name_len) < 0) {
            return -1;
        }
        return (ssize_t)(HEADER + body);
    }
    return -1;
}

// from_peer is request for what a peer sends.
static ssize_t from_peer(struct conn *c, const char *in, size_t have)
{
    struct link l;
    if (have < sizeof l) {
        return 0;
    }
    memcpy(&l, in, sizeof l);
    if (l.len > ROUND - sizeof l) {
        return -1;
    }
    if (have < sizeof l + l.len) {
        return 0;
    }
    if (memcmp(l.type, "ACKS", 4) == 0 && l.len == 0 && l.number <= sent) {
        c->acked = l.number;
    } else if (memcmp(l.type, "PREP", 4) == 0) {
        if (theirs_len + l.len > THEIRS) {
            end_round();
        }
        memcpy(theirs + theirs_len, in + sizeof l, l.len);
        theirs_len += l.len;
        c->got = l.number;
    } else {
        return -1;
    }
    return (ssize_t)(sizeof l + l.len);
}

static int link_peer(struct conn *c)
{
    for (int i = 0; i < PEERS; i++) {
        if (peers[i] == NULL) {
            peers[i] = c;
            c->kind = PEER;
            linked++;
            if (linked == PEERS) {
                printf("ready\n");
                fflush(stdout);
            }
            return 0;
        }
    }
    return -1;
}

// greet tells by the first bytes who is there.
static ssize_t greet(struct conn *c, const char *in, size_t have)
{
    struct link l;
    if (in[0] == 'T') {
        c->kind = CLIENT;
        return request(c, in, have);
    }
    if (have < sizeof l) {
        return in[0] == 'P' ? 0 : -1;
    }
    memcpy(&l, in, sizeof l);
    return memcmp(l.type, "PEER", 4) == 0 && l.len == 0 && link_peer(c) == 0 ? (ssize_t)sizeof l : -1;
}

// serve takes in what has arrived; -1: the connection is over.
static int serve(struct conn *c)
{
    ssize_t n = read(c->fd, c->in + c->have, IN - c->have);
    if (n <= 0) {
        return n < 0 && (errno == EAGAIN || errno == EINTR) ? 0 : -1;
    }
    c->have += (size_t)n;
    size_t at = 0;
    for (ssize_t used; at < c->have; at += (size_t)used) {
        const char *in = c->in + at;
        size_t have = c->have - at;
        used = c->kind == CLIENT ? request(c, in, have) : c->kind == PEER ? from_peer(c, in, have) : greet(c, in, have);
        if (used < 0) {
            return -1;
        }
        if (used == 0) {
            break;
        }
    }
    memmove(c->in, c->in + at, c->have - at);
    c->have -= at;
    return 0;
}

static void drop(struct conn *c)
{
    for (int i = 0; i < PEERS; i++) {
        if (peers[i] == c) {
            peers[i] = NULL;
            linked--;
        }
    }
    conns[c->fd] = NULL;
    close(c->fd);
    free(c);
}

static void watch(int fd)
{
    struct epoll_event ev = {.events = EPOLLIN, .data.fd = fd};
    if (epoll_ctl(ep, EPOLL_CTL_ADD, fd, &ev)) {
        die("epoll_ctl");
    }
}

static struct conn *adopt(int fd)
{
    int one = 1;
    if (fd < 0 || fd >= MAX_FDS) {
        close(fd);
        return NULL;
    }
    struct conn *c = calloc(1, sizeof *c);
    if (c == NULL) {
        die("connection");
    }
    c->fd = fd;
    c->id = ++conn_ids;
    conns[fd] = c;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    watch(fd);
    return c;
}

static void dial(uint32_t port)
{
    const struct link l = {"PEER", 0, 0};
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    if (fd < 0 || connect(fd, (struct sockaddr *)&a, sizeof a)) {
        die("dial");
    }
    struct conn *c = adopt(fd);
    if (c == NULL || link_peer(c) < 0) {
        die("dial");
    }
    write_all(fd, (const char *)&l, sizeof l);
}

// learn_answer reads a reply's frame: length, error, message begin. 0: there is none any more.
static int learn_answer(void)
{
    char len[4];
    read_all(len, sizeof len);
    size_t n = be32(len);
    if (n == 0) {
        return 0;
    }
    char *f = n < 24 || n > FRAME || n_answers == ANSWERS ? NULL : malloc(n);
    if (f == NULL) {
        bad("a reply");
    }
    memcpy(f, len, sizeof len);
    read_all(f + 4, n - 4);
    size_t begin = 8 + (size_t)be32(f + 4), name = begin + 8;
    size_t name_len = name > n ? 0 : be32(f + begin + 4);
    if (name_len < 4 || name + name_len + 4 > n) {
        bad("a reply");
    }
    struct answer *a = &answers[n_answers++];
    *a = (struct answer){f, f + name, n, name + name_len, name_len - 4}; // less _ACK
    if (a->name_len == 17 && memcmp(a->name, "RPC_RRDB_RRDB_PUT", 17) == 0) {
        put_answer = a;
    }
    return 1;
}

static void configure(void)
{
    uint32_t dials, port;
    read_all(&dials, sizeof dials);
    if (dials > PEERS) {
        bad("too many peers");
    }
    for (; dials > 0; dials--) {
        read_all(&port, sizeof port);
        dial(port);
    }
    while (learn_answer()) {
    }
}

static void open_log(const char *name, const char *mib)
{
    static const char zeros[1 << 20];
    log_fd = open(name, O_RDWR | O_CREAT | O_TRUNC, 0644);
    log_size = (off_t)atoi(mib) << 20;
    for (off_t at = 0; at < log_size; at += (off_t)sizeof zeros) {
        if (pwrite(log_fd, zeros, sizeof zeros, at) != (ssize_t)sizeof zeros) {
            die(name);
        }
    }
    if (log_size <= 0 || fsync(log_fd)) {
        die(name);
    }
}

static int tell_counters(void)
{
    char any[64];
    if (read(STDIN_FILENO, any, sizeof any) <= 0) {
        return -1;
    }
    printf("requests %" PRIu64 " puts %" PRIu64 " log_syncs %" PRIu64 "\n", n_requests, n_puts, n_syncs);
    return fflush(stdout);
}

int main(int argc, char **argv)
{
    int ln = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof a;
    ep = epoll_create1(0);
    if (ln < 0 || ep < 0 || bind(ln, (struct sockaddr *)&a, size) || listen(ln, 128) || getsockname(ln, (struct sockaddr *)&a, &size)) {
        die("listen");
    }
    if (argc != 3) {
        return 2;
    }
    signal(SIGPIPE, SIG_IGN);
    open_log(argv[1], argv[2]);
    printf("%d\n", ntohs(a.sin_port));
    fflush(stdout);
    watch(ln);
    watch(STDIN_FILENO);
    configure();
    for (;;) {
        struct epoll_event evs[MAX_FDS];
        int n = epoll_wait(ep, evs, MAX_FDS, -1), accepting = 0;
        for (int i = 0; i < n; i++) {
            int fd = evs[i].data.fd;
            if (fd == STDIN_FILENO && tell_counters() < 0) {
                return 0;
            }
            accepting |= fd == ln;
            if (fd < MAX_FDS && conns[fd] != NULL && serve(conns[fd]) < 0) {
                drop(conns[fd]);
            }
        }
        end_round();
        if (accepting) { // last, so that no number of a descriptor changes hands within a round
            adopt(accept(ln, NULL, NULL));
        }
    }
}
