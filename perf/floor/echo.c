#define _GNU_SOURCE
// The floor of a request: a single-threaded epoll server that cuts its input into frames and answers each, with nothing in
// between. A frame is its length and the length of its answer, both u32 little endian and counting themselves, then anything.
// What is answered in a round leaves in one write per connection, as in the server that is compared with it.
//
//   echo    prints its port, ends when standard input ends

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { IN = 256 << 10, OUT = 1 << 20, MAX_FDS = 4096 };

struct conn {
    size_t have;
    char in[IN];
};

static struct conn *conns[MAX_FDS];
static char out[OUT];

static void die(const char *what)
{
    perror(what);
    exit(1);
}

static void send_all(int fd, size_t n)
{
    for (size_t sent = 0; sent < n;) {
        ssize_t k = write(fd, out + sent, n - sent);
        if (k < 0 && errno != EINTR) {
            return; // the next read tells
        }
        sent += k > 0 ? (size_t)k : 0;
    }
}

// serve answers what has arrived; -1: the connection is over.
static int serve(int fd)
{
    struct conn *c = conns[fd];
    ssize_t n = read(fd, c->in + c->have, IN - c->have);
    if (n <= 0) {
        return n < 0 && (errno == EAGAIN || errno == EINTR) ? 0 : -1;
    }
    c->have += (size_t)n;
    size_t at = 0, answer = 0;
    while (c->have - at >= 8) {
        uint32_t len, reply;
        memcpy(&len, c->in + at, 4);
        memcpy(&reply, c->in + at + 4, 4);
        if (len < 8 || len > IN || reply < 8 || reply > IN) {
            return -1;
        }
        if (c->have - at < len) {
            break;
        }
        if (answer + reply > OUT) {
            send_all(fd, answer);
            answer = 0;
        }
        memcpy(out + answer, &reply, 4);
        memset(out + answer + 4, 'x', reply - 4);
        answer += reply;
        at += len;
    }
    memmove(c->in, c->in + at, c->have - at);
    c->have -= at;
    send_all(fd, answer);
    return 0;
}

int main(void)
{
    int ln = socket(AF_INET, SOCK_STREAM, 0), ep = epoll_create1(0), one = 1;
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof a;
    if (ln < 0 || ep < 0 || bind(ln, (struct sockaddr *)&a, size) || listen(ln, 128) || getsockname(ln, (struct sockaddr *)&a, &size)) {
        die("listen");
    }
    printf("%d\n", ntohs(a.sin_port));
    fflush(stdout);
    int watched[] = {ln, STDIN_FILENO};
    for (int i = 0; i < 2; i++) {
        struct epoll_event ev = {.events = EPOLLIN, .data.fd = watched[i]};
        if (epoll_ctl(ep, EPOLL_CTL_ADD, watched[i], &ev)) {
            die("epoll_ctl");
        }
    }
    for (;;) {
        struct epoll_event evs[256];
        int n = epoll_wait(ep, evs, 256, -1);
        for (int i = 0; i < n; i++) {
            int fd = evs[i].data.fd;
            if (fd == STDIN_FILENO) {
                return 0;
            }
            if (fd != ln) {
                if (serve(fd) < 0) {
                    close(fd);
                    free(conns[fd]);
                    conns[fd] = NULL;
                }
                continue;
            }
            int c = accept4(ln, NULL, NULL, 0);
            if (c < 0 || c >= MAX_FDS) {
                die("accept");
            }
            setsockopt(c, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
            conns[c] = calloc(1, sizeof(struct conn));
            struct epoll_event ev = {.events = EPOLLIN, .data.fd = c};
            if (conns[c] == NULL || epoll_ctl(ep, EPOLL_CTL_ADD, c, &ev)) {
                die("connection");
            }
        }
    }
}
