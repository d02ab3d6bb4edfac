package transfer

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"pegasus/netcore/disk"
	"pegasus/netcore/proto"
)

// Bounds that no option moves.
const (
	// BlockSize is the unit of checksums and requests in bytes; the last block of a file is shorter.
	BlockSize = 1 << 20
	// MaxFiles is the highest number of files in a directory.
	MaxFiles = 1 << 16
	// MaxName is the longest file name in bytes.
	MaxName = 128
	// MaxBytes bounds the sum of the file sizes.
	MaxBytes = 4 << 40
	// MaxOffers is how many directories a Server holds at once.
	MaxOffers = 1024
	// MaxWindow bounds Options.Window.
	MaxWindow = 64
)

// Errors of this package, to be tested with errors.Is.
var (
	// ErrBusy: as many transfers run as may, here or there, or another learner has this one. Ask again later.
	ErrBusy = errors.New("transfer: busy")
	// ErrUnknown: the server does not offer this transfer, or not any more.
	ErrUnknown = errors.New("transfer: unknown transfer")
	// ErrExists: the transfer id is taken.
	ErrExists = errors.New("transfer: id is taken")
	// ErrSource: the offered directory cannot be read, or changed after it was offered.
	ErrSource = errors.New("transfer: source cannot be served")
	// ErrManifest: a directory or manifest is outside the bounds of this package.
	ErrManifest = errors.New("transfer: manifest refused")
	// ErrVersion: the other end speaks a version that this one does not.
	ErrVersion = errors.New("transfer: protocol version not supported")
	// ErrStaging: the staging directory holds what no unfinished transfer put there. Nothing in it was touched; remove it or
	// name another one.
	ErrStaging = errors.New("transfer: not a staging directory")
	// ErrDisk: the staging directory cannot be read or written.
	ErrDisk = errors.New("transfer: staging disk error")
	// ErrNoSpace: the disk of the staging directory is full, or too full for what is missing. It also matches ErrDisk.
	ErrNoSpace = fmt.Errorf("%w: no space", ErrDisk)
	// ErrUnreachable: Options.Attempts connections in a row ended without a new block. It wraps how the last one ended.
	ErrUnreachable = errors.New("transfer: server cannot be reached")
	// ErrExpired: nobody fetched the offered directory in time.
	ErrExpired = errors.New("transfer: offer expired")
	// ErrClosed: the Server is closed, or the offer was released meanwhile.
	ErrClosed = errors.New("transfer: closed")

	// errProtocol ends a connection whose other end does not keep to the protocol.
	errProtocol = errors.New("transfer: protocol violation")
	// errDamaged ends a connection on which bytes changed.
	errDamaged = errors.New("transfer: damaged frame")
)

// Options of a Server and of Fetch. The zero value of a field means its default.
type Options struct {
	// FS holds offered and staging directories. Default: the operating system's.
	FS disk.FS
	// Budget is what this node spends on transfers; share one among its Server and all its fetches. Default: one of its
	// own, without a limit of rate, with DefaultTransfers.
	Budget *Budget
	// Timeout is how long the other end may be silent, or not take a frame. Both ends show life every two seconds whatever
	// else they do. Default 30 s, at least 6 s.
	Timeout time.Duration
	// Expire is how long a Server keeps an offer that nobody is fetching. Default 10 minutes.
	Expire time.Duration
	// Ended tells the owner of a Server how an offer ended, at most once per id: nil when the learner has everything durable,
	// ErrExpired (the directory is gone), or ErrSource (it should be released). It is called from a goroutine of the Server
	// and may call its methods except Close. Not called for what the owner itself ends by Release or Close.
	Ended func(id uint64, err error)

	// Node says who fetches. A server lets a second connection of the same node replace the first one.
	Node proto.NodeID
	// Window is how many blocks Fetch has on the way. Default 8. Smaller files count by their size, up to MaxWindow of them.
	Window int
	// Attempts is how many connections of a Fetch may end in a row without a new block. Between them it waits 50 ms, doubling
	// up to 2 s. Default 20, about half a minute.
	Attempts int
	// Progress is called by Fetch, on its goroutine, when it knows what is missing and after every block. It must not block.
	Progress func(Progress)
	// Dial makes the connections of Fetch. Default: TCP.
	Dial func(ctx context.Context, addr string) (net.Conn, error)
}

// Progress of a Fetch. Bytes are of file content.
type Progress struct {
	Total   int64 // in the manifest
	Reused  int64 // found in the staging directory, verified
	Fetched int64 // received, verified and written by this Fetch
	Damaged int   // blocks received that did not match
	Dials   int   // connections made
}

const (
	aliveEvery     = 2 * time.Second
	minTimeout     = 3 * aliveEvery
	defaultTimeout = 30 * time.Second
	defaultExpire  = 10 * time.Minute
	defaultWindow  = 8
	defaultTries   = 20
)

// withDefaults fills what is not set, and brings what is out of bounds into them.
func (o Options) withDefaults() Options {
	if o.FS == nil {
		o.FS = disk.OS()
	}
	if o.Budget == nil {
		o.Budget = NewBudget(0, DefaultTransfers)
	}
	if o.Timeout == 0 {
		o.Timeout = defaultTimeout
	}
	o.Timeout = max(o.Timeout, minTimeout)
	if o.Expire == 0 {
		o.Expire = defaultExpire
	}
	if o.Window == 0 {
		o.Window = defaultWindow
	}
	o.Window = min(max(o.Window, 1), MaxWindow)
	if o.Attempts == 0 {
		o.Attempts = defaultTries
	}
	if o.Dial == nil {
		var d net.Dialer
		o.Dial = func(ctx context.Context, addr string) (net.Conn, error) { return d.DialContext(ctx, "tcp", addr) }
	}
	return o
}
